//! More events than a slow disk can take.

use std::{
    io::{BufReader, Write as _},
    thread,
    time::Duration,
};

use super::{SYNCS, Strace, skip};
use crate::world::{Reply, World, booking, sign};

#[test]
fn what_a_slow_disk_cannot_take_in_time_is_refused_and_the_rest_is_recorded() {
    let world = World::plan().start();
    assert_eq!(world.send(&booking("before", "A")).status, 200);
    // Each commit takes 8 s, for at most 512 events.
    let strace = match Strace::inject(world.pid(), SYNCS, "delay_enter=8000000") {
        Ok(strace) => strace,
        Err(why) => return skip(&format!("no strace: {why}")),
    };
    let send = |number: usize| {
        let body = booking(&number.to_string(), "A");
        let request = format!(
            "POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\
             x-freispace-signature: {}\r\n\r\n{body}",
            body.len(),
            sign(body.as_bytes())
        );
        let mut stream = world.connect();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let mut sent: Vec<_> = (0..1_100).map(send).collect();
    // Long enough to see that the disk is slow.
    thread::sleep(Duration::from_secs(3));
    sent.extend((1_100..1_400).map(send));
    let replies = sent.into_iter().map(|s| Reply::read(&mut BufReader::new(s)).unwrap());
    let (acknowledged, refused): (Vec<_>, Vec<_>) = replies.partition(|reply| reply.status == 200);
    assert!(acknowledged.len() >= 512, "{}", acknowledged.len());
    assert!(!refused.is_empty(), "all {} were acknowledged", acknowledged.len());
    for reply in refused {
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{reply:?}");
    }
    drop(strace);

    world.eventually("all is as before", |world| world.send(&booking("after", "A")).status == 200);
    let (before, after) = (1, 1);
    assert_eq!(world.recorded(), before + acknowledged.len() as i64 + after);
}
