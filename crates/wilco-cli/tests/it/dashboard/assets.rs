//! The style sheet, the scripts and the icon.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use aws_lc_rs::digest::{SHA256, digest};

use super::{sign_in, visit};
use crate::world::World;

#[test]
fn the_assets_are_compressed_cached_and_take_at_most_60_kb() {
    let world = World::plan().start();
    let page = visit(&world, "/", &[("cookie", &sign_in(&world, "reader"))]).body;
    let mut total = 0;
    let mut seen = Vec::new();
    for part in page.split("\"/assets/").skip(1) {
        let url = format!("/assets/{}", part.split('"').next().unwrap());
        if seen.contains(&url) {
            continue;
        }
        let plain = bytes_of(&world, &url, "");
        let compressed = bytes_of(&world, &url, "gzip, br");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain, "{url}");
        total += compressed.len();
        let reply = visit(&world, &url, &[]);
        assert!(reply.header("cache-control").unwrap().contains("immutable"), "{url}");
        let etag = reply.header("etag").unwrap().to_owned();
        assert_eq!(visit(&world, &url, &[("if-none-match", &etag)]).status, 304, "{url}");
        seen.push(url);
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(total <= 60_000, "{total}");
}

#[test]
fn vendored_assets_are_as_published() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wilco-server/assets/");
    let table = std::fs::read_to_string(format!("{folder}VENDORED.md")).unwrap();
    let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let bytes = std::fs::read(format!("{folder}{}", cells[0])).unwrap();
        let digest = digest(&SHA256, &bytes);
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, cells[4], "{}", cells[0]);
    }
}

fn bytes_of(world: &World, path: &str, encoding: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(world.admin).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\naccept-encoding: {encoding}\r\n\r\n",
        world.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    answer.split_off(at + 4)
}
