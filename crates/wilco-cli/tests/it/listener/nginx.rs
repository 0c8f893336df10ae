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
    let nginx = Nginx::start(&world);
    for number in 0..10 {
        let body = "x".repeat((1 << 20) + (512 << 10));
        let mut stream = nginx.connect();
        write!(
            stream,
            "POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let reply = Reply::read(&mut BufReader::new(stream)).unwrap();
        assert_eq!((reply.status, reply.message().as_str()), (413, "Request body too large"));
        let good = booking(&format!("b-{number}"), "A");
        assert_eq!(send_on(nginx.connect(), &good).status, 200);
    }
    assert_eq!(world.recorded(), 10);
}

struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(world: &World) -> Self {
        let (port, folder) = (free_port(), world.path("nginx"));
        fs::create_dir(&folder).unwrap();
        let text = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n access_log off; client_max_body_size 100m;\n\
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 127.0.0.1:{port};\n\
             location / {{ proxy_pass http://{}; }} }}\n}}\n",
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
