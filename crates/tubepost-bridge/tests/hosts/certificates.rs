//! Who has no certificate gets nothing: the example of `docs/network.md`, done.

use crate::stage::{Host, PATIENCE, endpoint, eventually, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use tubepost::{Mailbox, Sender};

/// An authority, and what it signed for a host.
struct Authority(PathBuf);

fn openssl(at: &Path, args: &str) -> Result<(), String> {
    let done = Command::new("openssl").args(args.split(' ')).current_dir(at).output();
    let done = done.map_err(|error| format!("openssl: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

impl Authority {
    fn new(name: &str) -> Result<Authority, String> {
        let at = std::env::temp_dir().join(format!("tubepost-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&at, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN={name}"))?;
        openssl(&at, &format!("req {KEY} -keyout host.key -out host.csr -subj /CN=localhost"))?;
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        std::fs::write(at.join("names"), names).map_err(|error| error.to_string())?;
        openssl(
            &at,
            "x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out host.pem",
        )?;
        Ok(Authority(at))
    }

    /// A configuration of zenoh: of a host that this one signed for, and that trusts `trusted`.
    fn configuration(&self, trusted: &Authority) -> String {
        let (own, ca) = (self.0.display(), trusted.0.display());
        let text = format!(
            r#"{{
                 listen: {{ endpoints: [] }}, scouting: {{ multicast: {{ enabled: false }} }},
                 transport: {{ link: {{ protocols: ["tls"], tls: {{
                   root_ca_certificate: "{ca}/ca.pem", enable_mtls: true,
                   listen_private_key: "{own}/host.key", listen_certificate: "{own}/host.pem",
                   connect_private_key: "{own}/host.key", connect_certificate: "{own}/host.pem",
                 }} }} }},
               }}"#
        );
        let file = self.0.join("zenoh.json5");
        std::fs::write(&file, text).expect("a directory of ours");
        file.to_str().expect("a path of ours").to_owned()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn who_has_no_certificate_of_ours_gets_nothing() {
    let (ours, theirs) = match (Authority::new("ours"), Authority::new("theirs")) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(why), _) | (_, Err(why)) => return skip("who_has_no_certificate_of_ours_gets_nothing", &why),
    };
    let at = endpoint().replace("tcp/", "tls/");
    let there = Host::new(&["--zenoh-config", &ours.configuration(&ours), "--listen", &at, "--export", "*"]);
    let inbox = Mailbox::<str>::options().domain(&there.domain).own("letters").expect("a free name");

    // One that trusts us, but that we don't; and one without any.
    let stranger =
        Host::new(&["--zenoh-config", &theirs.configuration(&ours), "--connect", &at, "--import", "*"]);
    let plain = Host::new(&["--connect", &at.replace("tls/", "tcp/"), "--import", "*"]);
    let friend =
        Host::new(&["--zenoh-config", &ours.configuration(&ours), "--connect", &at, "--import", "*"]);
    friend.until_there("letters");
    let out = Sender::<str>::options().domain(&friend.domain).open("letters").expect("it is there");
    out.send("by tls").expect("there is room");
    assert_eq!(inbox.recv_timeout(PATIENCE), Ok("by tls".to_owned()));

    // Both have tried, and were told no.
    eventually("the stranger was refused", || !stranger.log().is_empty() && !plain.log().is_empty());
    for host in [&stranger, &plain] {
        assert!(host.domain.stat("letters").is_err(), "{}", host.log());
    }
}
