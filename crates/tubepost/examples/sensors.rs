//! Several processes measure, one collects: fixed-length messages by value.
//!
//! `cargo run --example sensors` starts three sensors as processes of their own, kills one of
//! them half-way, and goes on with the others.

use std::process::{Child, Command};
use std::time::Duration;
use tubepost::{Domain, Mailbox, Message, RecvTimeoutError, Sender};

#[derive(Message, Clone, Copy)]
#[repr(C)]
struct Reading {
    sensor: u32,
    celsius: f32,
}

const READINGS: usize = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain, sensor] = &arguments[..] {
        return measure(domain, sensor.parse()?);
    }

    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-sensors-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let inbox = Mailbox::<Reading>::options().domain(&domain).bounded(16).own("readings")?;

    let start = |sensor: u32| Command::new(&arguments[0]).args([&path, &sensor.to_string()]).spawn();
    let mut sensors: Vec<Child> = (0..3).map(start).collect::<Result<_, _>>()?;

    let mut readings = [0; 3];
    loop {
        match inbox.recv_timeout(Duration::from_millis(500)) {
            Ok(reading) => {
                let sensor = reading.sensor as usize;
                readings[sensor] += 1;
                if sensor == 2 && readings[2] == READINGS / 2 {
                    println!("sensor 2 is killed at {:.1} degrees", reading.celsius);
                    sensors[2].kill()?;
                }
            }
            Err(RecvTimeoutError::Timeout) => break, // nobody measures any more
            Err(error) => return Err(error.into()),
        }
    }
    println!("readings from each sensor: {readings:?}");
    for mut sensor in sensors {
        sensor.wait()?;
    }
    assert_eq!(readings[..2], [READINGS; 2], "the others are not disturbed");

    drop(inbox);
    std::fs::remove_dir(path)?;
    Ok(())
}

fn measure(domain: &str, sensor: u32) -> Result<(), Box<dyn std::error::Error>> {
    let domain = Domain::open(domain)?;
    let out = Sender::<Reading>::options().domain(&domain).open("readings")?;
    for turn in 0..READINGS {
        // Waits when sixteen readings are waiting: the collector is never overrun.
        out.send(Reading { sensor, celsius: 20.0 + turn as f32 / 10.0 })?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
