//! Members ask each other about the record on connections of their own, a stream for each question: whether two may
//! serve each other, and what each says to the other, has no part in it.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use rexi_proto::record::{Answer, KeeperAsk, Question, RECORD_SAID_BYTES_MAX, RecordReply};
use rexi_proto::{CloseCode, NodeName};
use thiserror::Error;

use crate::engine::member::HANDSHAKE_LIMIT;
use crate::engine::shared::Shared;
use crate::net::{close, peer_certifies};

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
    #[error("it did not answer within {QUESTION_LIMIT:?}")]
    TimedOut,
    #[error("{0}")]
    Connection(String),
}

impl Shared {
    /// Asks a member, or this node itself.
    pub(crate) async fn ask_member(self: &Arc<Self>, node: &NodeName, ask: KeeperAsk) -> Result<Answer, NoAnswer> {
        if *node == self.name {
            return self.ask_keeper(ask).await.ok_or(NoAnswer::Unkept);
        }
        let asked = tokio::time::timeout(QUESTION_LIMIT, self.ask_over(node, ask)).await;
        match asked.map_err(|_| NoAnswer::TimedOut)?? {
            RecordReply::Answer(answer) => Ok(*answer),
            RecordReply::Unkept => Err(NoAnswer::Unkept),
            RecordReply::NotAMember => Err(NoAnswer::Strangers),
        }
    }

    async fn ask_over(&self, node: &NodeName, ask: KeeperAsk) -> Result<RecordReply, NoAnswer> {
        let failed = |error: &dyn std::fmt::Display| NoAnswer::Connection(error.to_string());
        let member = self.member(node).ok_or(NoAnswer::NotAMember)?;
        let address = member.address().ok_or(NoAnswer::NoAddress)?;
        let connecting = self.endpoint.connect_with(self.credentials.client(), address, node.as_str());
        let connection = connecting.map_err(|e| failed(&e))?.await.map_err(|e| failed(&e))?;
        let asked = async {
            let (mut send, mut recv) = connection.open_bi().await.map_err(|e| failed(&e))?;
            let question = Question { from: self.name.clone(), ask }.encode().map_err(|e| failed(&e))?;
            send.write_all(&question).await.map_err(|e| failed(&e))?;
            send.finish().map_err(|e| failed(&e))?;
            let reply = recv.read_to_end(RECORD_SAID_BYTES_MAX as usize).await.map_err(|e| failed(&e))?;
            RecordReply::decode(&reply).map_err(|e| failed(&e))
        };
        let heard = asked.await;
        close(&connection, CloseCode::Replaced, "the question was answered");
        heard
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
                (Some(error), _) => tracing::warn!(node = %shared.name, peer = %to, error, "the record was not taken"),
                (None, None) => {}
            }
        });
    }
}

/// Answers a question that has come, and waits until the answer has been read.
pub(crate) async fn answer(shared: &Arc<Shared>, connection: &Connection, question: Question, mut send: SendStream) {
    let Question { from, ask } = question;
    let reply = match shared.member(&from) {
        None => RecordReply::NotAMember,
        Some(_) => match shared.ask_keeper(ask).await {
            Some(answer) => RecordReply::Answer(Box::new(answer)),
            None => RecordReply::Unkept,
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
pub(crate) async fn read(recv: &mut RecvStream, connection: &Connection) -> Result<Question, String> {
    let rest = recv.read_to_end(RECORD_SAID_BYTES_MAX as usize).await.map_err(|error| error.to_string())?;
    let question = Question::decode(&rest).map_err(|error| error.to_string())?;
    match peer_certifies(connection, &question.from) {
        true => Ok(question),
        false => Err(format!("the certificate does not name {}, which the question claims to be from", question.from)),
    }
}

/// How long a member may take to answer, its disk included.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
