//! Which engine a run is on, and with which certificates, when several could be meant.

use super::{Elsewhere, IMAGE, LIMIT, alias, done, small, succeeded, text};
use std::process::{Command, Stdio};
use std::time::Instant;

fn engine(elsewhere: &Elsewhere) -> String {
    let manifest: serde_json::Value = serde_json::from_str(&elsewhere.result("run.json")).unwrap();
    manifest["servers"][0]["engine"].as_str().unwrap().to_owned()
}

/// `certs` in the driver's table, and nothing in the environment; also for who ends and removes after a kill -9.
pub fn by_certificates_of_its_own(elsewhere: &Elsewhere) {
    let driver = |certs: &str| {
        format!("{{ kind = \"docker\", host = \"{}\", image = \"{IMAGE}\", certs = \"{certs}\" }}", elsewhere.tcp)
    };
    succeeded(elsewhere.running(&small(&driver("tls"))).output().unwrap());
    assert!(engine(elsewhere).ends_with(&format!(" at {}, which the scenario names", elsewhere.tcp)));
    // They go over those of the environment.
    succeeded(elsewhere.run(&small(&driver("tls")), "strange"));
    for (certs, said) in [("strange", "no TLS with the container engine at "), ("nowhere", "nowhere/ca.pem: ")] {
        let refused = text(&elsewhere.run(&small(&driver(certs)), "tls"));
        assert!(refused.contains(said) && refused.contains("`certs` in the driver's table"), "{refused}");
    }

    let long = small(&driver("tls")).replace("lasts = \"1s\"", "lasts = \"60s\"");
    let mut killed = elsewhere.running(&long).stderr(Stdio::null()).spawn().unwrap();
    let running = || text(&elsewhere.docker(&["ps", "-q", "--filter=label=pgbench-rs.node=a"])).trim().to_owned();
    let until = |what: &str, so: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed() < LIMIT, "never {what}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    until("a server", &|| !running().is_empty());
    killed.kill().unwrap();
    killed.wait().unwrap();
    until("ended by the watchdog", &|| running().is_empty());
    let cleaned = succeeded(elsewhere.program(&["clean"]).output().unwrap());
    assert!(cleaned.contains("volume "), "{cleaned}");
    elsewhere.assert_nothing_left();
}

/// The contexts of docker's own client, which makes them here.
pub fn by_a_context(elsewhere: &Elsewhere) {
    let (folder, here, tls) = (elsewhere.path("config"), alias(elsewhere), elsewhere.path("tls"));
    let docker =
        |args: &[&str]| done(Command::new("docker").args(args).env("DOCKER_CONFIG", &folder).env_remove("DOCKER_HOST"));
    let tls = tls.display();
    let far = format!("host={},ca={tls}/ca.pem,cert={tls}/cert.pem,key={tls}/key.pem", elsewhere.tcp);
    docker(&["context", "create", "far", "--docker", &far]);
    docker(&["context", "create", "here", "--docker", &format!("host={here}")]);
    docker(&["context", "use", "far"]);

    let scenario = small(&format!("{{ kind = \"docker\", image = \"{IMAGE}\" }}"));
    let run = |variables: &[(&str, &str)]| {
        let mut command = elsewhere.running(&scenario);
        command.env("DOCKER_CONFIG", &folder).envs(variables.iter().copied()).output().unwrap()
    };
    succeeded(run(&[]));
    let of = |name: &str, by: &str| format!(", of the docker context `{name}`, which {by} names");
    let expected = format!("{}{}", elsewhere.tcp, of("far", "`docker context use`"));
    assert!(engine(elsewhere).ends_with(&expected), "{}", engine(elsewhere));
    elsewhere.assert_nothing_left();
    // This machine's own engine, by a name of the context's own.
    succeeded(run(&[("DOCKER_CONTEXT", "here")]));
    assert!(engine(elsewhere).ends_with(&format!("{here}{}", of("here", "DOCKER_CONTEXT"))), "{}", engine(elsewhere));
    elsewhere.assert_nothing_left();
    succeeded(run(&[("DOCKER_HOST", &here)]));
    assert!(engine(elsewhere).ends_with(&format!("{here}, which DOCKER_HOST names")), "{}", engine(elsewhere));

    let doctor = |variables: &[(&str, &str)]| {
        let mut command = elsewhere.program(&["doctor"]);
        text(&command.env("DOCKER_CONFIG", &folder).envs(variables.iter().copied()).output().unwrap())
    };
    let found = doctor(&[]);
    assert!(found.contains(&format!(" at {expected}; on another machine")), "{found}");
    let missing = doctor(&[("DOCKER_CONTEXT", "nowhere")]);
    assert!(missing.contains("there is none such; the contexts are `default`, `far`, `here`"), "{missing}");
    let refused = text(&run(&[("DOCKER_CONTEXT", "nowhere")]));
    assert!(refused.contains("the docker context `nowhere`, which DOCKER_CONTEXT names, is of no use: "), "{refused}");
}
