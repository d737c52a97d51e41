//! Video frames, written in place by a camera and read in place by a viewer: nobody copies the 6 MiB of a frame. A viewer that is too
//! slow misses frames, and the camera never waits for it.
//!
//! `cargo run --release --example frames`

use std::process::Command;
use std::time::{Duration, Instant};
use tubepost::{Domain, Mailbox, Sender};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
/// Three bytes a pixel, and eight for the number of the frame.
const FRAME: usize = WIDTH * HEIGHT * 3 + 8;
const FRAMES: u64 = 120;
const PERIOD: Duration = Duration::from_millis(4);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, domain] = &arguments[..] {
        return film(&Domain::open(domain)?);
    }
    // A domain of its own, so that this can run beside anything else.
    let path = format!("/dev/shm/tubepost-example-frames-{}", std::process::id());
    let domain = Domain::open(&path)?;
    // Two may wait: more would only make what is shown older.
    let options = Mailbox::<[u8]>::options().domain(&domain).bounded(2).max_message(FRAME as u64);
    let screen = options.format("rgb24/1920x1080").own("camera")?;

    let mut camera = Command::new(&arguments[0]).arg(&path).spawn()?;
    let (mut shown, mut light) = (0, 0u64);
    loop {
        let frame = screen.take()?; // in hand: nobody writes to it until it is accepted
        let (number, pixels) = frame.split_first_chunk::<8>().ok_or("a frame without a number")?;
        let number = u64::from_le_bytes(*number);
        if number == FRAMES {
            break;
        }
        light += pixels.iter().step_by(4096).map(|&byte| u64::from(byte)).sum::<u64>();
        shown += 1;
        frame.accept()?;
        std::thread::sleep(2 * PERIOD); // a slow screen
    }
    if !camera.wait()?.success() {
        return Err("the camera failed".into());
    }
    println!("shown: {shown} of {FRAMES} frames (light {light})");
    drop(screen);
    std::fs::remove_dir(&path)?;
    Ok(())
}

/// The other process.
fn film(domain: &Domain) -> Result<(), Box<dyn std::error::Error>> {
    let out = Sender::<[u8]>::options().domain(domain).format("rgb24/1920x1080").open("camera")?;
    let (begin, mut missed) = (Instant::now(), 0);
    for number in 0..FRAMES {
        let mut frame = out.loan(FRAME)?; // memory of the mailbox itself
        let (head, pixels) = frame.split_at_mut(8);
        head.copy_from_slice(&number.to_le_bytes());
        pixels.fill(number as u8);
        if let Err(error) = frame.try_send() {
            if error.is_closed() {
                return Err("the viewer has gone".into());
            }
            missed += 1; // full: this one is dropped, and its memory free again
        }
        std::thread::sleep((PERIOD * number as u32).saturating_sub(begin.elapsed()));
    }
    let mut last = out.loan(8)?;
    last.copy_from_slice(&FRAMES.to_le_bytes());
    last.send().map_err(|error| error.to_string())?;
    println!("filmed: {FRAMES} frames, {missed} of them for nobody");
    Ok(())
}
