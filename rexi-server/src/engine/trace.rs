//! One trace over many nodes. A cast carries its caller's place in a trace; here it is taken from the current span, and
//! the job's span is joined to it. Without the feature `opentelemetry` a service carries it by hand, with
//! [`Request::trace`](crate::Request::trace) and [`Context::trace`](crate::Context::trace).

use rexi_proto::TraceContext;

/// The place of the current span in its trace, if it has one.
#[cfg(feature = "opentelemetry")]
pub(crate) fn current() -> Option<Box<TraceContext>> {
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let current = tracing::Span::current();
    // Most casts of most services have none, and are not to pay for it.
    if current.is_disabled() {
        return None;
    }
    let context = current.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| {
        Box::new(TraceContext {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
        })
    })
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn current() -> Option<Box<TraceContext>> {
    None
}

/// Makes a job's span the child of its caller's.
#[cfg(feature = "opentelemetry")]
pub(crate) fn join(span: &tracing::Span, trace: &TraceContext) {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let caller = SpanContext::new(
        TraceId::from_bytes(trace.trace_id.to_be_bytes()),
        SpanId::from_bytes(trace.span_id.to_be_bytes()),
        TraceFlags::new(trace.flags),
        true,
        TraceState::default(),
    );
    let parent = opentelemetry::Context::new().with_remote_span_context(caller);
    // Fails where no layer of OpenTelemetry is there, or the span is filtered out: then there is nothing to join.
    let _ = span.set_parent(parent);
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn join(_: &tracing::Span, _: &TraceContext) {}
