//! A service in async code: one task for each kind of request, in one thread, beside a timer. It needs no runtime of its own; here
//! it is one of tokio's.
//!
//! `cargo run --release --features tokio --example tasks`

use std::process::Command;
use std::time::Duration;
use tokio::time::interval;
use tubepost::{Domain, Mailbox, RecvError, Sender};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain] = &arguments[..] {
        return use_it(&Domain::open(domain)?);
    }
    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-tasks-{}", std::process::id());
    let domain = Domain::open(&path)?;
    let notes = Mailbox::<str>::options().domain(&domain).own("notes")?;
    let numbers = Mailbox::<u64>::options().domain(&domain).own("numbers")?;
    let mut user = Command::new(&arguments[0]).arg(&path).spawn()?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (texts, sum, ticks) = runtime.block_on(async {
        let (mut texts, mut sum, mut ticks) = (Vec::new(), 0, 0);
        let mut clock = interval(Duration::from_millis(5));
        // What is not ready is dropped and made anew in each round: nothing is lost by that.
        loop {
            tokio::select! {
                note = notes.recv_async() => match note?.as_str() {
                    "that is all" => break,
                    other => texts.push(other.to_string()),
                },
                number = numbers.recv_async() => sum += number?,
                _ = clock.tick() => ticks += 1,
            }
        }
        while let Ok(number) = numbers.try_recv() {
            sum += number;
        }
        Ok::<_, RecvError>((texts, sum, ticks))
    })?;
    println!("{} notes, numbers that make {sum}, and the clock ticked {ticks} times meanwhile", texts.len());
    assert_eq!((texts.len(), sum), (10, 55));
    if !user.wait()?.success() {
        return Err("its user failed".into());
    }
    drop((notes, numbers));
    std::fs::remove_dir(&path)?;
    Ok(())
}

/// The other process, which knows nothing of tasks.
fn use_it(domain: &Domain) -> Result<(), Box<dyn std::error::Error>> {
    let notes = Sender::<str>::options().domain(domain).open("notes")?;
    let numbers = Sender::<u64>::options().domain(domain).open("numbers")?;
    for number in 1..=10 {
        numbers.send(number)?;
        notes.send(&format!("the number was {number}")).map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(3));
    }
    notes.send("that is all")?;
    Ok(())
}
