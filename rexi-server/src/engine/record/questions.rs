//! Members ask each other about the record on connections of their own, a stream for each question: whether two may
//! serve each other, and what each says to the other, has no part in it.

#[cfg(feature = "operate")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ReadToEndError, RecvStream, SendStream};
#[cfg(feature = "operate")]
use rexi_proto::operate::MemberLook;
use rexi_proto::record::{Answer, KeeperAsk, MemberAsk, Question, RECORD_SAID_BYTES_MAX, RecordReply};
use rexi_proto::{CloseCode, HELLO_BYTES_MAX, NodeName};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use crate::engine::member::HANDSHAKE_LIMIT;
use crate::engine::shared::Shared;
use crate::net::{close, peer_certifies};
#[cfg(feature = "operate")]
use crate::state::Trail;

/// Why a member gave no answer. Nothing is known of what it has.
#[derive(Debug, Error)]
pub(crate) enum NoAnswer {
    #[error("it is not a member here")]
    NotAMember,
    #[error("no address of it is known")]
    NoAddress,
    #[error("it keeps no record: give it `rollout.state`")]
    Unkept,
    #[error("it does not list this node as a member")]
    Strangers,
    #[error("it was not reached within {HANDSHAKE_LIMIT:?}")]
    Unreached,
    #[error("it did not answer within {QUESTION_LIMIT:?}")]
    TimedOut,
    #[error("{0}")]
    Connection(String),
}

impl NoAnswer {
    /// What a reply means that is not what was asked for.
    fn of(reply: &RecordReply) -> Self {
        match reply {
            RecordReply::Unkept => Self::Unkept,
            RecordReply::NotAMember => Self::Strangers,
            _ => Self::Connection("it answered something else".to_owned()),
        }
    }
}

impl Shared {
    /// Asks a member's keeper, or this node's own.
    pub(crate) async fn ask_member(self: &Arc<Self>, node: &NodeName, ask: KeeperAsk) -> Result<Answer, NoAnswer> {
        match self.ask(node, MemberAsk::Record(ask)).await? {
            RecordReply::Answer(answer) => Ok(*answer),
            other => Err(NoAnswer::of(&other)),
        }
    }

    /// What each member but one is and keeps, or this node alone; or why it does not say.
    #[cfg(feature = "operate")]
    pub(crate) async fn looks(
        self: &Arc<Self>,
        all: bool,
        but: Option<&NodeName>,
    ) -> BTreeMap<NodeName, Result<MemberLook, String>> {
        let read = |reply| match reply {
            RecordReply::Look(look) => Ok(*look),
            other => Err(NoAnswer::of(&other).to_string()),
        };
        self.ask_all(|node| (all || *node == self.name) && Some(node) != but, &MemberAsk::Look, read).await
    }

    /// Each member's trail from that time on, or this node's alone; or why it does not give it.
    #[cfg(feature = "operate")]
    pub(crate) async fn trails(self: &Arc<Self>, all: bool, since: u64) -> BTreeMap<NodeName, Result<String, String>> {
        let read = |reply| match reply {
            RecordReply::Trail(trail) => trail,
            other => Err(NoAnswer::of(&other).to_string()),
        };
        let mut trails = self.ask_all(|node| all || *node == self.name, &MemberAsk::Trail { since }, read).await;
        // One reply has room for so many bytes of each.
        let most = TRAILS_BYTES_MAX / trails.len().max(1);
        for trail in trails.values_mut().flatten() {
            Trail::cut_oldest(trail, most);
        }
        trails
    }

    #[cfg(feature = "operate")]
    async fn ask_all<T>(
        self: &Arc<Self>,
        is_asked: impl Fn(&NodeName) -> bool,
        ask: &MemberAsk,
        read: impl Fn(RecordReply) -> Result<T, String>,
    ) -> BTreeMap<NodeName, Result<T, String>> {
        let members: Vec<NodeName> = self.members().names().filter(|node| is_asked(node)).cloned().collect();
        let asked = members.into_iter().map(async |node| {
            let reply = self.ask(&node, ask.clone()).await.map_err(|error| error.to_string());
            (node, reply.and_then(&read))
        });
        futures_util::future::join_all(asked).await.into_iter().collect()
    }

    /// Asks a member, or this node itself.
    async fn ask(self: &Arc<Self>, node: &NodeName, ask: MemberAsk) -> Result<RecordReply, NoAnswer> {
        let asked = async {
            match *node == self.name {
                true => Ok(self.reply_to(ask).await),
                false => self.ask_over(node, &ask).await,
            }
        };
        tokio::time::timeout(QUESTION_LIMIT, asked).await.map_err(|_| NoAnswer::TimedOut)?
    }

    async fn reply_to(self: &Arc<Self>, ask: MemberAsk) -> RecordReply {
        match ask {
            MemberAsk::Record(ask) => match self.ask_keeper(ask).await {
                Some(answer) => RecordReply::Answer(Box::new(answer)),
                None => RecordReply::Unkept,
            },
            MemberAsk::Look => RecordReply::Look(Box::new(self.look().await)),
            MemberAsk::Trail { since } => self.trail(since).await,
        }
    }

    #[cfg(feature = "operate")]
    async fn trail(&self, since: u64) -> RecordReply {
        let Some(record) = &self.record else { return RecordReply::Unkept };
        let disk = record.disk().clone();
        let read = self.env.aside(move || disk.trail()?.read(since)).await;
        RecordReply::Trail(read.map_err(|error| error.to_string()))
    }

    #[cfg(not(feature = "operate"))]
    async fn trail(&self, _since: u64) -> RecordReply {
        RecordReply::Trail(Err("its build has no port for operators, and so no trail".to_owned()))
    }

    async fn ask_over(&self, node: &NodeName, ask: &MemberAsk) -> Result<RecordReply, NoAnswer> {
        let failed = |error: &dyn std::fmt::Display| NoAnswer::Connection(error.to_string());
        let member = self.member(node).ok_or(NoAnswer::NotAMember)?;
        let address = member.address().ok_or(NoAnswer::NoAddress)?;
        let connecting = self.endpoint.connect_with(self.credentials.client(), address, node.as_str());
        let connecting = tokio::time::timeout(HANDSHAKE_LIMIT, connecting.map_err(|e| failed(&e))?).await;
        let connection = connecting.map_err(|_| NoAnswer::Unreached)?.map_err(|e| failed(&e))?;
        let asked = async {
            let (mut send, mut recv) = connection.open_bi().await.map_err(|e| failed(&e))?;
            let question = Question { from: self.name.clone(), ask: ask.clone() }.encode().map_err(|e| failed(&e))?;
            send.write_all(&question).await.map_err(|e| failed(&e))?;
            send.finish().map_err(|e| failed(&e))?;
            let reply = recv.read_to_end(RECORD_SAID_BYTES_MAX as usize).await.map_err(|e| failed(&e))?;
            RecordReply::decode(&reply).map_err(|e| failed(&e))
        };
        let heard = asked.await;
        close(&connection, CloseCode::Replaced, "the question was answered");
        heard
    }

    /// Tells a member of the brakes that are on here: it may not have been there when they were put on.
    pub(crate) fn tell_brakes(self: &Arc<Self>, to: &NodeName) {
        let Some(kept) = self.record.as_ref().map(|record| record.kept()) else { return };
        if kept.brakes.is_empty() {
            return;
        }
        let (shared, to) = (Arc::clone(self), to.clone());
        self.spawn(async move {
            if let Err(error) = shared.ask_member(&to, KeeperAsk::Hear(kept.brakes.clone())).await {
                tracing::debug!(node = %shared.name, peer = %to, %error, "a member was not told of the brakes");
            }
        });
    }

    /// Gives the record that is on this node's disk to a member that is behind.
    pub(crate) fn give_record(self: &Arc<Self>, to: &NodeName) {
        let (shared, to) = (Arc::clone(self), to.clone());
        let Some(keeper) = &self.record else { return };
        let Some(record) = keeper.kept().record.clone() else { return };
        if !keeper.given().insert(to.clone()) {
            return;
        }
        self.spawn(async move {
            let take = KeeperAsk::Take(record, shared.name.clone());
            let given = shared.ask_member(&to, take).await;
            if let Some(keeper) = &shared.record {
                keeper.given().remove(&to);
            }
            let problem = match &given {
                Ok(answer) => answer.did.as_ref().err().map(ToString::to_string),
                Err(error) => Some(error.to_string()),
            };
            match (problem, shared.member(&to)) {
                (None, Some(member)) => member.kicked.notify_one(),
                (Some(error), Some(member)) => {
                    if let Some(unsaid) = member.lines.record.next() {
                        tracing::warn!(node = %shared.name, peer = %to, error, unsaid, "the record was not taken");
                    }
                }
                (_, None) => {}
            }
        });
    }
}

/// Answers a question that has come, and waits until the answer has been read.
pub(crate) async fn answer(shared: &Arc<Shared>, connection: &Connection, question: Question, mut send: SendStream) {
    let Question { from, ask } = question;
    let places = shared.record.as_ref().map(|record| &record.answers);
    let Ok(_place) = places.map(Semaphore::try_acquire).transpose() else {
        return close(connection, CloseCode::TryAgain, "too many questions are being answered");
    };
    let reply = match shared.member(&from) {
        None => RecordReply::NotAMember,
        Some(_) => match tokio::time::timeout(QUESTION_LIMIT, shared.reply_to(ask)).await {
            Ok(reply) => reply,
            Err(_) => return close(connection, CloseCode::TryAgain, "the disk does not answer"),
        },
    };
    let reply = match reply.encode() {
        Ok(reply) => reply,
        Err(error) => return close(connection, CloseCode::BadFrame, &error.to_string()),
    };
    let said = async {
        send.write_all(&reply).await?;
        let _ = send.finish();
        Ok::<_, quinn::WriteError>(connection.closed().await)
    };
    let _ = tokio::time::timeout(HANDSHAKE_LIMIT, said).await;
    close(connection, CloseCode::Replaced, "the question was answered");
}

/// The rest of a question whose first bytes were read, of who the certificate names.
pub(crate) async fn read(shared: &Shared, recv: &mut RecvStream, connection: &Connection) -> Result<Question, String> {
    // Who is no member has little to say.
    let is_member = shared.members().iter().any(|member| peer_certifies(connection, member.name()));
    let most = if is_member { RECORD_SAID_BYTES_MAX } else { HELLO_BYTES_MAX };
    let mut rest = Vec::new();
    // quinn's own `read_to_end` leaves the order in which the first bytes were read, and then counts twice what had
    // come twice by then.
    recv.take(u64::from(most) + 1).read_to_end(&mut rest).await.map_err(|error| error.to_string())?;
    if rest.len() > most as usize {
        return Err(ReadToEndError::TooLong.to_string());
    }
    let question = Question::decode(&rest).map_err(|error| error.to_string())?;
    match peer_certifies(connection, &question.from) {
        true => Ok(question),
        false => Err(format!("the certificate does not name {}, which the question claims to be from", question.from)),
    }
}

/// How long a member may take to answer, its disk included.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of all trails in one reply: of each the newest lines.
#[cfg(feature = "operate")]
const TRAILS_BYTES_MAX: usize = 48 << 20;
