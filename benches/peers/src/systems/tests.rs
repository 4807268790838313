//! Every system in one process: that it answers what it was asked, and streams what it was asked for.

use std::collections::BTreeSet;

use clap::ValueEnum;
use futures_util::future::try_join_all;

use super::*;
use crate::cli::Runtime;
use crate::cluster::{Certificates, Cluster, Common};
use crate::systems::rexi::{Mode, Nodes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_system_answers_what_it_was_asked() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificates = Certificates::new().expect("certificates can be made");
    for &system in System::value_variants() {
        let modes = if system == System::Rexi { &Mode::ALL[..] } else { &[Mode::PerNode] };
        for &mode in modes {
            let common = Common { system, runtime: Runtime::Mt, mode };
            let played = play(common, &certificates).await;
            played.unwrap_or_else(|failure| panic!("{system:?} {mode:?}: {failure:?}"));
        }
    }
}

async fn play(common: Common, certificates: &Certificates) -> Result<(), Failure> {
    let cluster = Cluster::new(common, certificates, &["server", "n1"].map(str::to_owned))?;
    let (server, caller) = (cluster.setup("server", "n1"), cluster.setup("n1", "server"));
    match common.system {
        System::Rexi => {
            let _server = Nodes::start(&server)?;
            check(common.system, &Nodes::connect(&caller).await?).await
        }
        System::Quinn => {
            quinn::serve(&server).await?;
            check(common.system, &quinn::connect(&caller).await?).await
        }
        System::Tcp => {
            tcp::serve(&server).await?;
            check(common.system, &tcp::connect(&caller).await?).await
        }
        System::Tarpc => {
            tarpc::serve(&server).await?;
            check(common.system, &tarpc::connect(&caller).await?).await
        }
        System::Tonic => {
            tonic::serve(&server).await?;
            check(common.system, &tonic::connect(&caller).await?).await
        }
        System::Irpc => {
            irpc::serve(&server).await?;
            check(common.system, &irpc::connect(&caller).await?).await
        }
    }
}

async fn check(system: System, caller: &impl Caller) -> Result<(), Failure> {
    // All at once and each with another body, so that answers that are swapped show.
    let bodies = (0..CALLS).map(|number: u32| Bytes::from(number.to_le_bytes().repeat(16)));
    let large = Bytes::from(vec![7; 1 << 20]);
    let bodies: Vec<_> = bodies.chain([large, Bytes::new()]).collect();
    let echoes = try_join_all(bodies.iter().map(|body| caller.echo(body.clone()))).await?;
    assert!(echoes == bodies, "{system:?}");
    if !system.has_streams() {
        return Ok(());
    }
    for bytes in [64, 4_096] {
        let mut items = Vec::new();
        let ask = Items { count: u64::from(CALLS), bytes, window: 16 };
        let all = |item: &[u8]| {
            items.push(item.to_vec());
            Taken::More
        };
        caller.items(ask, all).await?;
        assert_eq!(items.len(), CALLS as usize, "{system:?}");
        assert_eq!(items.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([item(bytes).to_vec()]), "{system:?}");
        // One that is left in its middle does not disturb what comes after it.
        let mut taken = 0;
        let some = |_: &[u8]| {
            taken += 1;
            if taken == 10 { Taken::Enough } else { Taken::More }
        };
        caller.items(Items { count: 100_000, bytes, window: 16 }, some).await?;
        assert_eq!(caller.echo(Bytes::from_static(b"next")).await?, "next", "{system:?}");
    }
    Ok(())
}

const CALLS: u32 = 500;
