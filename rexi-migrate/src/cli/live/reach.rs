//! How an operator reaches a cluster: through which members, and as whom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use miette::{Report, miette};
use rexi_proto::NodeName;
use rexi_proto::operate::{OperatorAsk, OperatorReply};
use rexi_server::Identity;
use rexi_server::operate::{OperatorClient, OperatorError};

use super::said::{Format, NO, Said, UNTOLD};
use crate::cli::shared::USAGE;
use crate::live::Cluster;

/// Flags of every command that asks members.
#[derive(Clone, Debug, Args)]
pub(super) struct Reach {
    /// A member, and its port for operators. The next is tried where one is not reached.
    // Not `required`, here and below: the line of usage would be wider than a terminal.
    #[arg(long, value_name = "NODE=ADDRESS", help_heading = "Required")]
    via: Vec<Via>,
    /// A directory with ca.pem, the authority of the nodes, and operator.pem and operator.key, the operator's own.
    #[arg(long, value_name = "DIR", help_heading = "Required")]
    identity: Option<PathBuf>,
    /// How to say what came of it.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Seconds until the answer must be there, 1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout: u64,
}

/// A member, and where its port is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Via(NodeName, SocketAddr);

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (node, address) = text.split_once('=').ok_or("give NODE=ADDRESS, such as n1=127.0.0.1:4101")?;
        let node = node.parse().map_err(|error| format!("{error}"))?;
        let address = address.parse().map_err(|_| format!("{address:?} is not an IP address and a port"))?;
        Ok(Self(node, address))
    }
}

impl Reach {
    /// Asks the first member that is reached; or says why there is no answer, and what that means.
    pub(super) async fn ask(&self, command: &str, ask: &OperatorAsk) -> Result<OperatorReply, Stop> {
        let client = self.ready()?;
        let but = if let OperatorAsk::Look { but: Some(but), .. } = ask { Some(but) } else { None };
        let mut unreached = Vec::new();
        for Via(node, address) in self.via.iter().filter(|Via(node, _)| Some(node) != but) {
            match client.ask(node, *address, ask, Duration::from_secs(self.timeout)).await {
                Ok(OperatorReply::Denied { operator, verb }) => {
                    return Err(self.stop(command, NO, &denied(&operator, &verb, node)));
                }
                Ok(OperatorReply::Unkept) => {
                    return Err(self.stop(command, NO, &format!("{node} keeps no record: give it `rollout.state`")));
                }
                Ok(OperatorReply::NoTrail(why)) => {
                    return Err(self.stop(command, NO, &no_trail(node, &why)));
                }
                Ok(reply) => return Ok(reply),
                Err(error @ OperatorError::NotReached { .. }) => unreached.push(error.to_string()),
                // What only looks may be asked of another.
                Err(error) if !matches!(ask, OperatorAsk::Command { .. }) => unreached.push(error.to_string()),
                Err(error) => {
                    let why = format!("{error}. What was asked may be under way: see `live status`");
                    return Err(self.stop(command, UNTOLD, &why));
                }
            }
        }
        if unreached.is_empty() {
            return Err(Stop::Usage(USAGE, miette!("give --via for another member: this one is not asked")));
        }
        Err(self.stop(command, UNTOLD, &unreached.join("; ")))
    }

    /// What all members tell.
    pub(super) async fn look(&self, command: &str) -> Result<Cluster, Stop> {
        self.look_but(command, None).await
    }

    /// What all members but one tell, which is down and is not asked for another either.
    pub(super) async fn look_but(&self, command: &str, but: Option<&NodeName>) -> Result<Cluster, Stop> {
        match self.ask(command, &OperatorAsk::Look { all: true, but: but.cloned() }).await? {
            OperatorReply::Looks(looks) => Ok(Cluster::new(looks)),
            other => Err(self.strange(command, &other)),
        }
    }

    /// What all members tell, each asked for itself at the port that `--via` gives.
    pub(super) async fn look_directly(&self, command: &str) -> Result<Cluster, Stop> {
        let client = self.ready()?;
        let asked = self.via.iter().map(async |Via(node, address)| {
            let ask = OperatorAsk::Look { all: false, but: None };
            let look = match client.ask(node, *address, &ask, Duration::from_secs(self.timeout)).await {
                Ok(OperatorReply::Looks(mut looks)) => looks.remove(node).unwrap_or_else(|| Err(STRANGE.to_owned())),
                Ok(OperatorReply::Denied { operator, verb }) => Err(denied(&operator, &verb, node)),
                Ok(OperatorReply::NoTrail(why)) => Err(no_trail(node, &why)),
                Ok(_) => Err(STRANGE.to_owned()),
                Err(error) => Err(error.to_string()),
            };
            (node.clone(), look)
        });
        let mut looks = BTreeMap::new();
        for (node, look) in futures_util::future::join_all(asked).await {
            // One of its addresses may be of no use.
            if look.is_ok() || !looks.contains_key(&node) {
                looks.insert(node, look);
            }
        }
        if looks.values().all(Result::is_err) {
            let whys: Vec<String> = looks.into_values().filter_map(Result::err).collect();
            return Err(self.stop(command, UNTOLD, &whys.join("; ")));
        }
        for node in Cluster::new(looks.clone()).members() {
            looks.entry(node).or_insert_with(|| Err("it was not asked: no --via names it".to_owned()));
        }
        Ok(Cluster::new(looks))
    }

    /// A member answered something that was not asked for.
    pub(super) fn strange(&self, command: &str, reply: &OperatorReply) -> Stop {
        self.stop(command, UNTOLD, &format!("it answered something else: {reply:?}"))
    }

    fn stop(&self, command: &str, code: u8, why: &str) -> Stop {
        let said = Said::new(self.format, command).code(code).line(why);
        Stop::Said(Box::new(said.with("problem", why.into())))
    }

    /// What members are asked with, where it is said whom to ask and as whom.
    fn ready(&self) -> Result<OperatorClient, Stop> {
        let client = self.client().map_err(|report| Stop::Usage(USAGE, report))?;
        if self.via.is_empty() {
            let report = miette!("give --via: a member and its port for operators, such as n1=127.0.0.1:4101");
            return Err(Stop::Usage(USAGE, report));
        }
        Ok(client)
    }

    fn client(&self) -> Result<OperatorClient, Report> {
        let missing = "give --identity: a directory with ca.pem, operator.pem and operator.key";
        let dir = self.identity.as_ref().ok_or_else(|| miette!("{missing}"))?;
        let file = |name: &str| dir.join(name);
        let identity = Identity::from_pem_files(file("ca.pem"), file("operator.pem"), file("operator.key"));
        identity.and_then(|identity| OperatorClient::new(&identity)).map_err(|error| miette!("--identity: {error}"))
    }
}

fn denied(operator: &str, verb: &str, node: &NodeName) -> String {
    format!("{operator} may not ask for {verb} at {node}: see its table [operators]")
}

fn no_trail(node: &NodeName, why: &str) -> String {
    format!("{node} did nothing, since it could not put it down in its trail: {why}")
}

const STRANGE: &str = "it answered something else";

/// Why a command goes no further.
pub(super) enum Stop {
    /// This is all there is to say.
    Said(Box<Said>),
    /// It was called wrongly; the exit code.
    Usage(u8, Report),
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
