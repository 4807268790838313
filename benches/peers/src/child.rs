//! A process of a cell, from the inside: connects or serves, then does what it is told, line by line.
//!
//! It ends when its input does, so that none is left behind by a run that was broken off.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::cli::{Runtime, Setup};
use crate::failure::Failure;
use crate::measure::{Usage, pin};
use crate::order::{Answer, Order, Play, Played};
use crate::systems::rexi::{CONNECT_LIMIT, Nodes};
use crate::systems::{Caller, System, irpc, quinn, tarpc, tcp, tonic};
use crate::work::load;

/// The server's process.
pub(crate) fn serve(setup: Setup) -> Result<ExitCode, Failure> {
    run(setup.runtime, SERVER_CORE, async move {
        // Kept for as long as the process serves.
        let _nodes = match setup.system {
            System::Rexi => Some(Nodes::start(&setup)?),
            System::Quinn => quinn::serve(&setup).await.map(|()| None)?,
            System::Tcp => tcp::serve(&setup).await.map(|()| None)?,
            System::Tarpc => tarpc::serve(&setup).await.map(|()| None)?,
            System::Tonic => tonic::serve(&setup).await.map(|()| None)?,
            System::Irpc => irpc::serve(&setup).await.map(|()| None)?,
        };
        obey(async |_, _| Err(Failure::new("a server plays nothing"))).await
    })
}

/// The caller's process.
pub(crate) fn call(setup: Setup) -> Result<ExitCode, Failure> {
    run(setup.runtime, CALLER_CORE, async move {
        match setup.system {
            System::Rexi => {
                let nodes = connected(Nodes::connect(&setup)).await?;
                obey(async |play, time| load::play_rexi(&nodes, play, time).await).await
            }
            System::Quinn => obey_with(connected(quinn::connect(&setup)).await?).await,
            System::Tcp => obey_with(connected(tcp::connect(&setup)).await?).await,
            System::Tarpc => obey_with(connected(tarpc::connect(&setup)).await?).await,
            System::Tonic => obey_with(connected(tonic::connect(&setup)).await?).await,
            System::Irpc => obey_with(connected(irpc::connect(&setup)).await?).await,
        }
    })
}

fn run(runtime: Runtime, core: usize, body: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    let runtime = match runtime {
        Runtime::Ct => {
            pin(core);
            tokio::runtime::Builder::new_current_thread().enable_all().build()?
        }
        Runtime::Mt => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
    };
    let ended = runtime.block_on(body);
    if let Err(failure) = &ended {
        say(&Answer::Failed(failure.text().to_owned()))?;
    }
    // Without waiting for what still runs: tasks, and the thread that reads the input.
    runtime.shutdown_background();
    Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn connected<C>(connecting: impl Future<Output = Result<C, Failure>>) -> Result<C, Failure> {
    let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
    connected.map_err(|_| Failure::new(format!("not connected within {CONNECT_LIMIT:?}")))?
}

async fn obey_with(caller: impl Caller) -> Result<(), Failure> {
    obey(async |play, time| load::play(&caller, play, time).await).await
}

async fn obey(play: impl AsyncFn(Play, Duration) -> Result<Played, Failure>) -> Result<(), Failure> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    say(&Answer::Ready)?;
    while let Some(order) = next_order(&mut orders).await? {
        let answer = match order {
            Order::Usage => Usage::now().map(Answer::Usage),
            Order::Play { play: order, micros } => play(order, Duration::from_micros(micros)).await.map(Answer::Played),
        };
        say(&answer.unwrap_or_else(|failure| Answer::Failed(failure.text().to_owned())))?;
    }
    Ok(())
}

async fn next_order(orders: &mut Lines<BufReader<Stdin>>) -> Result<Option<Order>, Failure> {
    let line = orders.next_line().await?;
    Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
}

fn say(answer: &Answer) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

const SERVER_CORE: usize = 0;

const CALLER_CORE: usize = 1;
