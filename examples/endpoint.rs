//! An endpoint function: what happens when a booking changes in freispace.
//!
//! ```sh
//! export FREISPACE_SECRET=a-made-up-secret
//! cargo run -p wilco-server --example endpoint
//! wilco send booking.created --to http://127.0.0.1:8080/webhook     # in another terminal
//! ```
//!
//! The answer is 200 as soon as the event is recorded in `wilco.db`; the function is called after
//! that, at least once, also where the program was stopped in between.

use wilco::{Event, Secret, freispace::Booking};
use wilco_server::Endpoint;

#[tokio::main]
async fn main() -> wilco_server::Result<()> {
    tracing_subscriber::fmt().init();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    Endpoint::freispace("/webhook", Secret::from_env("FREISPACE_SECRET")?)
        .store("sqlite:wilco.db")
        .on("booking.*", |event: Event| async move {
            let booking: Booking = event.data()?;
            notify(&booking.name).await // an Err is retried
        })
        .serve(&address)
        .await
}

/// Stands for what your program does: tell a chat, reserve a machine, write to your own database.
#[expect(clippy::print_stdout, reason = "printing is all that it does")]
async fn notify(name: &str) -> wilco_server::Result<()> {
    println!("booked: {name}");
    Ok(())
}
