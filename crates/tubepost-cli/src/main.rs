//! The command.
mod bench;
mod ending;
mod exit;
mod scratch;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let r = if a.first().is_some_and(|a| a == "bench-far") {
        bench::far(a[1].as_ref(), a[2].parse().unwrap())
    } else {
        let json = a.iter().any(|a| a == "--json");
        let quick = a.iter().any(|a| a == "--quick");
        bench::run(
            &a.into_iter()
                .filter(|a| !a.starts_with("--"))
                .collect::<Vec<_>>(),
            quick,
            json,
        )
    };
    if let Err(e) = r {
        eprintln!("tubepost: {e}");
        std::process::exit(e.code().into())
    }
}
