//! The sensor against the running kernel: what a child process does is told, with its facts.
//! Where the kernel or the rights forbid it, each test says so and passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use vedette_ebpf::{Config, KernelEvent, KernelFact, Sensor};
use vedette_model::{SocketDirection, StreamTarget};
use vedette_sys::{Clock, SystemClock};

/// One sensor at a time keeps the tests' costs down.
static ONE: Mutex<()> = Mutex::new(());

fn sensor(test: &str, config: &Config) -> Option<(MutexGuard<'static, ()>, Sensor)> {
    let guard = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match Sensor::start(config) {
        Ok(sensor) => Some((guard, sensor)),
        Err(error) => {
            println!("SKIPPED {test}: {error} ({})", error.remedy());
            None
        }
    }
}

/// Polls until `wanted` said yes, or fails after a generous time.
fn wait_for(sensor: &mut Sensor, what: &str, wanted: &mut dyn FnMut(&KernelEvent<'_>) -> bool) {
    let clock = SystemClock;
    let begin = clock.monotonic();
    let mut found = false;
    while !found {
        assert!(clock.monotonic().since(begin) < Duration::from_secs(60), "never seen: {what}");
        sensor.poll(Duration::from_millis(100), &mut |event| found |= wanted(&event)).unwrap();
    }
}

#[test]
fn exec_fork_and_exit_of_a_child_are_told() {
    let Some((_guard, mut sensor)) = sensor("exec_fork_and_exit", &Config::default()) else { return };
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exit 7", "vedette marker"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let (mut exec, mut exit) = (false, false);
    wait_for(&mut sensor, "exec and exit", &mut |event| {
        match &event.fact {
            KernelFact::Exec(e) if e.args.iter().any(|a| a == b"vedette marker") => {
                assert_eq!(e.filename, b"/bin/sh");
                assert_eq!(e.args.iter().count(), 4);
                assert_eq!(e.streams[0], StreamTarget::Device);
                assert!(matches!(e.streams[1], StreamTarget::Pipe { .. }));
                assert!(!e.unlinked);
                assert!(event.header.process.start_ns > 0 && event.header.parent.pid > 0);
                assert_eq!(event.header.comm(), b"sh");
                exec = true;
            }
            // In a pid namespace of our own our number for the child is not the kernel's.
            KernelFact::Exit { code: 7, signal: false } if event.header.comm() == b"sh" => exit = true,
            _ => {}
        }
        exec && exit
    });
    assert!(pid > 0 && child.wait().unwrap().code() == Some(7));
    assert!(sensor.losses().classes.iter().any(|c| c.class == "exec" && c.seen > 0));
}

/// A shell whose three streams are an outbound connection, in both address families.
#[test]
fn a_shell_on_a_connection_is_told_with_its_peer() {
    let config = Config { skip_own: false, ..Config::default() };
    let Some((_guard, mut sensor)) = sensor("a_shell_on_a_connection", &config) else { return };
    for (listen, peer) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let Ok(listener) = TcpListener::bind(listen) else {
            println!("SKIPPED a_shell_on_a_connection: {listen} is not available");
            continue;
        };
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let fd: OwnedFd = stream.into();
        let mut child = Command::new("/bin/sh")
            .args(["-c", "echo done"])
            .stdin(fd.try_clone().unwrap())
            .stdout(fd)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut connected, mut taken, mut redirects, mut exec) = (false, false, 0, false);
        wait_for(&mut sensor, "connection, redirect, exec", &mut |event| {
            match &event.fact {
                KernelFact::Connection(s) if s.direction == SocketDirection::Outbound => {
                    connected |=
                        s.peer_port == address.port() && s.peer.to_string() == peer && s.local_port != 0;
                }
                KernelFact::Connection(s) => taken |= s.local_port == address.port(),
                KernelFact::Redirect { target: StreamTarget::Socket(s), .. } => {
                    redirects += u32::from(s.peer_port == address.port());
                }
                KernelFact::Exec(e) => {
                    exec |= matches!(&e.streams, [StreamTarget::Socket(a), StreamTarget::Socket(b), _]
                        if a == b && a.peer_port == address.port() && a.direction == SocketDirection::Outbound);
                }
                _ => {}
            }
            connected && taken && redirects >= 2 && exec
        });
        child.wait().unwrap();
        let mut said = String::new();
        accepted.read_to_string(&mut said).unwrap();
        assert_eq!(said, "done\n");
    }
}

#[test]
fn what_this_process_connects_is_left_out() {
    let Some((_guard, mut sensor)) = sensor("what_this_process_connects", &Config::default()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _accepted = listener.accept().unwrap();
    let mut child = Command::new("/bin/true").arg("vedette end mark").spawn().unwrap();
    wait_for(&mut sensor, "the end mark", &mut |event| match &event.fact {
        KernelFact::Connection(s) => {
            assert!(s.peer_port != port && s.local_port != port, "own connection was told");
            false
        }
        KernelFact::Exec(e) => e.args.iter().any(|a| a == b"vedette end mark"),
        _ => false,
    });
    child.wait().unwrap();
}
