//! One OpenTelemetry trace over three nodes, exported to a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use rexi_server::{Bytes, CallError, Context, Node, Request, TraceContext};
use rexi_tests::{MODES, in_every_mode, name, within};
use serde_json::{Value, json};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

/// Writes each span as a line of JSON.
#[derive(Debug)]
struct ToFile(Mutex<File>);

impl SpanExporter for ToFile {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut file = self.0.lock().expect("nothing panics while it writes");
        for span in batch {
            let attribute = |key: &str| {
                let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
                found.map(|attribute| attribute.value.as_str().into_owned())
            };
            let line = json!({
                "trace": span.span_context.trace_id().to_string(),
                "span": span.span_context.span_id().to_string(),
                "parent": span.parent_span_id.to_string(),
                "name": span.name,
                "node": attribute("node"),
                "peer": attribute("peer"),
                "function": attribute("function"),
            });
            writeln!(file, "{line}").expect("the file can be written");
        }
        Ok(())
    }
}

/// The spans of a file whose name, node and function are these.
fn find<'a>(spans: &'a [Value], name: &str, node: &str, function: &str) -> Vec<&'a Value> {
    let is = |span: &&Value| span["name"] == name && span["node"] == node && span["function"] == function;
    spans.iter().filter(is).collect()
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the file can be read");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[tokio::test(start_paused = true)]
async fn one_trace_spans_a_coordinator_and_workers_on_three_nodes() {
    in_every_mode(async |mode| {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let exporter = ToFile(Mutex::new(file.reopen().expect("the file can be opened")));
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("rexi-tests"));
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

        let relay: Arc<OnceLock<Node>> = Arc::default();
        let by_functions = Arc::clone(&relay);
        let cluster = mode.cluster(["n1", "n2", "n3"], move |node, _| {
            let relay = Arc::clone(&by_functions);
            node.function("relay", move |_: Context, argument: Bytes| {
                let n2 = relay.get().expect("the test sets it before it calls").clone();
                async move { n2.call(&name("n3"), Request::new("echo", argument)).await }
            })
        });
        let cluster = cluster.await;
        let n1 = cluster.node("n1");
        relay.set(cluster.node("n2")).expect("it is set once");

        let request = tracing::info_span!("request", node = "n1", function = "");
        let work = async {
            n1.call(&name("n2"), Request::new("relay", "x")).await?;
            n1.call(&name("n3"), Request::new("echo", "y")).await?;
            Ok::<_, CallError>(())
        };
        within("both calls", work.instrument(request)).await.expect("both are answered");
        // Of no trace.
        within("the echo", n1.call(&name("n3"), Request::new("echo", "z"))).await.expect("an echo");
        provider.force_flush().expect("the file is written");

        let spans = read(file.path());
        let [request] = find(&spans, "request", "n1", "")[..] else { panic!("one request: {spans:#?}") };
        let [relayed] = find(&spans, "relay", "n2", "relay")[..] else { panic!("one relay: {spans:#?}") };
        let echoes = find(&spans, "echo", "n3", "echo");
        let of_trace: Vec<_> = echoes.iter().filter(|echo| echo["trace"] == request["trace"]).collect();
        assert_eq!((echoes.len(), of_trace.len()), (3, 2), "{spans:#?}");
        assert_eq!((&relayed["trace"], &relayed["parent"]), (&request["trace"], &request["span"]));
        let parents = [of_trace[0], of_trace[1]].map(|echo| (&echo["peer"], &echo["parent"]));
        assert!(parents.contains(&(&"n2".into(), &relayed["span"])), "{spans:#?}");
        assert!(parents.contains(&(&"n1".into(), &request["span"])), "{spans:#?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_is_given_goes_before_the_current_one() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("rexi-tests"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let told = |job: Context, _| async move { Ok::<_, String>(Bytes::from(format!("{:?}", job.trace()))) };
    let (n1, _n2) = MODES[3].pair(move |node| node.function("trace", told)).await;
    let given: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("a traceparent");
    let n2 = name("n2");
    let call = n1.call(&n2, Request::new("trace", "").trace(given));
    let said = within("the trace", call.instrument(tracing::info_span!("request"))).await;
    assert_eq!(said, Ok(Bytes::from(format!("{:?}", Some(given)))));
}
