//! The bridge beside a bare zenoh put and subscribe, and a bare TCP stream: messages of 1 KiB in a stream, and one way of a round trip, in one run.
//!
//! ```sh
//! cargo build --release -p tubepost-bridge --bins --examples
//! target/release/examples/beside
//! ```
//!
//! Two processes of each kind in two network namespaces of this machine, with a veth cable between them (as root, with `ip`; else by way of the loopback
//! interface); with the bridge, two bridges besides. Also what the processor has to do while nothing happens, beside two bare sessions of zenoh.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tubepost::{Domain, Mailbox, Sender};
use zenoh::Wait;
use zenoh::qos::{CongestionControl, Reliability};

const SIZE: usize = 1024;
const STREAM: u32 = 100_000;
const ROUNDS: u32 = 5_000;
type Done<T> = Result<T, Box<dyn Error>>;

/// What was measured: messages a second, and one way.
struct Measured(f64, Duration);

/// Sends both: a stream, which is answered by one message at its end, then messages that are answered one by one.
fn measure(mut send: impl FnMut(&[u8]) -> Done<()>, mut hear: impl FnMut() -> Done<()>) -> Done<Measured> {
    let message = [7; SIZE];
    let mut round = |send: &mut dyn FnMut(&[u8]) -> Done<()>| -> Done<Duration> {
        let begin = Instant::now();
        send(&message)?;
        hear()?;
        Ok(begin.elapsed())
    };
    let mut trips: Vec<Duration> = (0..ROUNDS).map(|_| round(&mut send)).collect::<Done<_>>()?;
    trips.sort();
    let begin = Instant::now();
    (1..STREAM).try_for_each(|_| send(&message))?;
    round(&mut send)?;
    Ok(Measured(f64::from(STREAM) / begin.elapsed().as_secs_f64(), trips[trips.len() / 2] / 2))
}

/// The other side: answers as often as `measure` wants to hear.
fn answer(mut hear: impl FnMut() -> Done<()>, mut say: impl FnMut() -> Done<()>) -> Done<()> {
    for count in 1..=ROUNDS + STREAM {
        hear()?;
        if count <= ROUNDS || count == ROUNDS + STREAM {
            say()?;
        }
    }
    Ok(())
}

fn session(listen: &str, connect: &str) -> Done<zenoh::Session> {
    let mut config = zenoh::Config::default();
    let list = |one: &str| if one.is_empty() { "[]".to_owned() } else { format!("[\"{one}\"]") };
    for (key, value) in [
        ("scouting/multicast/enabled", "false".to_owned()),
        ("listen/endpoints", list(listen)),
        ("connect/endpoints", list(connect)),
    ] {
        config.insert_json5(key, &value).map_err(|error| error.to_string())?;
    }
    Ok(zenoh::open(config).wait().map_err(|error| error.to_string())?)
}

/// Says by one key and hears by another.
#[allow(clippy::type_complexity, reason = "closures have no names")]
fn by_zenoh(
    session: &zenoh::Session,
    out: &'static str,
    into: &'static str,
) -> Done<(impl FnMut(&[u8]) -> Done<()>, impl FnMut() -> Done<()>)> {
    let heard = session.declare_subscriber(into).wait().map_err(|error| error.to_string())?;
    let publisher = session
        .declare_publisher(out)
        .congestion_control(CongestionControl::Block)
        .reliability(Reliability::Reliable)
        .wait()
        .map_err(|error| error.to_string())?;
    while !publisher.matching_status().wait().map_err(|error| error.to_string())?.matching() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let say = move |bytes: &[u8]| Ok(publisher.put(bytes).wait().map_err(|error| error.to_string())?);
    let hear = move || heard.recv().map(drop).map_err(|error| error.to_string().into());
    Ok((say, hear))
}

#[allow(clippy::type_complexity, reason = "closures have no names")]
fn by_tcp(stream: TcpStream) -> Done<(impl FnMut(&[u8]) -> Done<()>, impl FnMut() -> Done<()>)> {
    stream.set_nodelay(true)?;
    let mut into = std::io::BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let mut out = stream;
    let mut buffer = [0; SIZE];
    Ok((move |bytes: &[u8]| Ok(out.write_all(bytes)?), move || Ok(into.read_exact(&mut buffer)?)))
}

#[allow(clippy::type_complexity, reason = "closures have no names")]
fn by_mailboxes(
    domain: &str,
    own: &str,
    other: &str,
) -> Done<(impl FnMut(&[u8]) -> Done<()>, impl FnMut() -> Done<()>)> {
    let domain = Domain::open(domain)?;
    let inbox = Mailbox::<[u8]>::options().domain(&domain).max_message(SIZE as u64).own(own)?;
    let out = loop {
        match Sender::<[u8]>::options().domain(&domain).open(other) {
            Ok(out) => break out,
            Err(tubepost::Error::NoSuchName { .. }) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error.into()),
        }
    };
    let mut buffer = [0; SIZE];
    let say = move |bytes: &[u8]| out.send(bytes).map_err(|error| error.to_string().into());
    Ok((say, move || Ok(inbox.recv_into(&mut buffer).map(drop)?)))
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespace of the other side, if there are two.
fn beyond() -> Option<String> {
    std::env::var("BESIDE_OTHER").ok()
}

/// A program on the other side.
fn there(program: &std::path::Path) -> Command {
    match beyond() {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &namespace]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn other_side(args: &[&str]) -> Done<Killed> {
    Ok(Killed(there(&std::env::current_exe()?).args(args).spawn()?))
}

/// Where this side can be reached.
fn endpoint() -> Done<String> {
    let host = if beyond().is_some() { "10.69.0.1" } else { "127.0.0.1" };
    Ok(TcpListener::bind((host, 0))?.local_addr()?.to_string())
}

fn ip(args: &str) -> Done<()> {
    let done = Command::new("ip").args(args.split(' ')).output()?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into()) }
}

/// Runs this program in two namespaces. `false`: there are none to be had.
fn in_namespaces() -> Done<bool> {
    let pid = std::process::id();
    let [a, b] = [0, 1].map(|end| format!("beside{pid}-{end}"));
    let make = || {
        ip(&format!("netns add {a}"))?;
        ip(&format!("netns add {b}"))?;
        ip(&format!("link add cable netns {a} type veth peer name cable netns {b}"))?;
        for (end, namespace) in [&a, &b].into_iter().enumerate() {
            ip(&format!("-n {namespace} addr add 10.69.0.{}/24 dev cable", end + 1))?;
            ip(&format!("-n {namespace} link set cable up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Done::Ok(())
    };
    let done = match make() {
        Err(why) => {
            println!("no namespaces here ({why}): by the loopback interface");
            Ok(false)
        }
        Ok(()) => {
            let mut inner = Command::new("ip");
            inner.args(["netns", "exec", &a]).arg(std::env::current_exe()?).env("BESIDE_OTHER", &b);
            inner.status().map(|_| true)
        }
    };
    let _ = (ip(&format!("netns del {a}")), ip(&format!("netns del {b}"))); // they may not be there
    Ok(done?)
}

/// How much of a processor these processes have had so far, in ticks of 10 ms.
fn ticks(of: &[u32]) -> Done<u64> {
    let mut sum = 0;
    for pid in of {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        sum += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    Ok(sum)
}

const IDLE: Duration = Duration::from_secs(20);

fn idle(what: &str, of: &[u32]) -> Done<()> {
    std::thread::sleep(Duration::from_secs(2)); // what is settling is not meant
    let before = ticks(of)?;
    std::thread::sleep(IDLE);
    let percent = (ticks(of)? - before) as f64 / IDLE.as_secs_f64();
    println!("{what:<14} {percent:>9.2} % of a processor, both sides, while nothing happens");
    Ok(())
}

fn tell(what: &str, measured: &Measured) {
    println!(
        "{what:<14} {:>9.0} messages/s   {:>7.1} µs one way",
        measured.0,
        measured.1.as_secs_f64() * 1e6
    );
}

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let message = [7; SIZE];
    if args.is_empty() && beyond().is_none() && in_namespaces()? {
        return Ok(());
    }
    match args[..] {
        ["tcp", at] => {
            let (mut say, hear) = by_tcp(TcpStream::connect(at)?)?;
            return answer(hear, || say(&message));
        }
        ["listen", at] => {
            let _session = session(at, "")?;
            std::thread::sleep(IDLE + Duration::from_secs(60));
            return Ok(());
        }
        ["silent", at] => {
            let _session = session("", &format!("tcp/{at}"))?;
            std::thread::sleep(IDLE + Duration::from_secs(60));
            return Ok(());
        }
        ["zenoh", at] => {
            let session = session("", &format!("tcp/{at}"))?;
            let (mut say, hear) = by_zenoh(&session, "beside/back", "beside/there")?;
            answer(hear, || say(&message))?;
            std::thread::sleep(Duration::from_secs(1)); // the last one is on its way
            return Ok(());
        }
        ["mailboxes", domain] => {
            let (mut say, hear) = by_mailboxes(domain, "there", "back")?;
            answer(hear, || say(&message))?;
            std::thread::sleep(Duration::from_secs(1)); // as above
            return Ok(());
        }
        _ => {}
    }

    let listener = TcpListener::bind(endpoint()?)?;
    let _other = other_side(&["tcp", &listener.local_addr()?.to_string()])?;
    let (say, hear) = by_tcp(listener.accept()?.0)?;
    tell("tcp", &measure(say, hear)?);

    let at = endpoint()?;
    let open = session(&format!("tcp/{at}"), "")?;
    let _other = other_side(&["zenoh", &at])?;
    let (say, hear) = by_zenoh(&open, "beside/there", "beside/back")?;
    let zenoh = measure(say, hear)?;
    tell("zenoh", &zenoh);
    open.close().wait().map_err(|error| error.to_string())?;

    let at = endpoint()?;
    let listening = format!("tcp/{at}");
    let silent = [
        Killed(Command::new(std::env::current_exe()?).args(["listen", &listening]).spawn()?),
        other_side(&["silent", &at])?,
    ];
    idle("zenoh", &silent.each_ref().map(|it| it.0.id()))?;
    drop(silent);

    let at = format!("tcp/{}", endpoint()?);
    let domains = [0, 1].map(|end| format!("/dev/shm/tubepost-beside-{}-{end}", std::process::id()));
    let program = std::env::current_exe()?.with_file_name("../tubepost-bridge");
    let bridge = |domain: &str, how: &str, export: &str, import: &str| -> Done<Killed> {
        Domain::open(domain)?;
        let mut command = if how == "--listen" { Command::new(&program) } else { there(&program) };
        command
            .args(["--domain", domain, how, &at, "--export", export, "--import", import])
            .env("RUST_LOG", "error");
        Ok(Killed(command.spawn()?))
    };
    let bridges = [
        bridge(&domains[0], "--listen", "back", "there")?,
        bridge(&domains[1], "--connect", "there", "back")?,
    ];
    let other = other_side(&["mailboxes", &domains[1]])?;
    let (mut say, hear) = by_mailboxes(&domains[0], "back", "there")?;
    let ours = measure(&mut say, hear)?;
    tell("bridge", &ours);
    println!(
        "of zenoh: {:.2} of its rate, {:.2} times its way",
        ours.0 / zenoh.0,
        ours.1.as_secs_f64() / zenoh.1.as_secs_f64()
    );
    drop(other);
    idle("bridge", &bridges.each_ref().map(|bridge| bridge.0.id()))?;

    drop(bridges);
    domains.iter().try_for_each(std::fs::remove_dir_all)?;
    Ok(())
}
