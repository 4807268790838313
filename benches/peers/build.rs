//! Writes tonic's client and server of the service that `systems/tonic.rs` offers. Its messages are written there by
//! hand, so that no compiler of protocol buffers is needed.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str| {
        let method = Method::builder().name(name).route_name(route);
        method.codec_path("tonic_prost::ProstCodec")
    };
    let echo = method("echo", "Echo")
        .input_type("crate::systems::tonic::Payload")
        .output_type("crate::systems::tonic::Payload")
        .build();
    let rows = method("rows", "Rows")
        .input_type("crate::systems::tonic::RowsRequest")
        .output_type("crate::systems::tonic::Payload");
    let service = Service::builder().name("Peer").package("peers").method(echo).method(rows.server_streaming().build());
    Builder::new().compile(&[service.build()]);
    println!("cargo:rerun-if-changed=build.rs");
}
