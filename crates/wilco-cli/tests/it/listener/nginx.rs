//! The same behind nginx, as most endpoints are reached.

use std::{
    fs,
    io::{BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{free_port, send_on};
use crate::world::{Reply, World, booking};

#[test]
fn a_refusal_reaches_the_sender_through_nginx() {
    let world = World::plan().start();
    let mut number = 0;
    for buffering in ["on", "off"] {
        let nginx = Nginx::start(&world, &format!("proxy_request_buffering {buffering};"));
        for (body_bytes, path, status) in [
            ((1 << 20) + (512 << 10), "/webhook", 413),
            (12 << 20, "/webhook", 413),
            (12 << 20, "/elsewhere", 404),
        ] {
            for _ in 0..3 {
                let mut stream = nginx.connect();
                let fields = format!("connection: close\r\ncontent-length: {body_bytes}");
                let body = "x".repeat(body_bytes);
                write!(stream, "POST {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}")
                    .unwrap();
                let reply = Reply::read(&mut BufReader::new(stream)).unwrap();
                assert_eq!(reply.status, status, "{buffering} {path} {body_bytes}");
                let good = booking(&format!("b-{number}"), "A");
                assert_eq!(send_on(nginx.connect(), &good).status, 200);
                number += 1;
            }
        }
    }
    assert_eq!(world.recorded(), number);
}

#[test]
fn a_refusal_reaches_a_slow_sender_through_nginx_that_does_not_buffer() {
    let world = World::plan().start();
    let nginx = Nginx::start(&world, "proxy_request_buffering off;");
    let mut stream = nginx.connect();
    let head = "POST /elsewhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5000";
    write!(stream, "{head}\r\n\r\n").unwrap();
    for _ in 0..10 {
        stream.write_all(&[b'x'; 500]).unwrap();
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(Reply::read(&mut BufReader::new(stream)).unwrap().status, 404);
}

struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(world: &World, lines: &str) -> Self {
        let port = free_port();
        let folder = world.path(&format!("nginx-{port}"));
        fs::create_dir(&folder).unwrap();
        let text = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n access_log off; client_max_body_size 100m;\n\
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 127.0.0.1:{port};\n\
             location / {{ proxy_pass http://{}; {lines} }} }}\n}}\n",
            world.address,
            folder = folder.display()
        );
        let config = folder.join("nginx.conf");
        fs::write(&config, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&config).stderr(Stdio::null());
        let nginx = Self { child: command.spawn().unwrap(), port };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "nginx does not start");
            thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
