//! Makes the wire's types from the schema, in Rust alone: no protoc, no network.

use std::error::Error;

const SCHEMA: &str = "schema/messages.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let schema = protox::compile([SCHEMA], ["schema"])?;
    let mut config = prost_build::Config::new();
    // Bodies share the frame's bytes.
    config.bytes(["."]);
    // A command has one body. Those that are large and not on a message's way are boxed, so that a decoded envelope
    // stays small.
    for body in ["session", "conv", "logs", "patch", "pubsub", "blacklist", "room", "login"] {
        config.boxed(format!(".push_server.messages2.GenericCommand.{body}Message"));
    }
    config.compile_fds(schema)?;
    Ok(())
}
