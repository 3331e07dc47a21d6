use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn environment(variables: &[(&str, &str)], home: &Path) -> Environment {
    Environment {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: Some(home.to_owned()),
        user: Some("me".to_owned()),
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Host, port, user, database, password.
fn shown(resolved: &Resolved) -> String {
    let Resolved { host, port, access, .. } = resolved;
    let password = access.password.as_ref().map_or("-", Secret::expose);
    format!("{host} {port} {} {} {password}", access.user, access.dbname)
}

fn refused(conninfo: &str, variables: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    match resolve(conninfo, &environment(variables, home.path())) {
        Ok(resolved) => panic!("{conninfo} was taken: {resolved:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_string_goes_over_the_service_and_that_over_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let services = "[s]\nhost=of-service\nport=1\ndbname=service_db\n";
    write(&home.path().join(".pg_service.conf"), services, 0o644);
    let variables = [("PGHOST", "of-env"), ("PGPORT", "2"), ("PGUSER", "env_user"), ("PGPASSWORD", "env_pw")];
    for (conninfo, found) in [
        ("", "of-env 2 env_user env_user env_pw"),
        ("service=s", "of-service 1 env_user service_db env_pw"),
        ("service=s host=of-string", "of-string 1 env_user service_db env_pw"),
        ("postgresql:///db?service=s", "of-service 1 env_user db env_pw"),
        ("user=u password=p", "of-env 2 u u p"),
        ("host=h port=5", "h 5 env_user env_user env_pw"),
        ("hostaddr=10.0.0.1", "10.0.0.1 2 env_user env_user env_pw"),
        ("user=''", "of-env 2 me me env_pw"),
    ] {
        let resolved = resolve(conninfo, &environment(&variables, home.path())).unwrap();
        assert_eq!(shown(&resolved), found, "{conninfo}");
    }
    let resolved = resolve("host=h", &environment(&[("PGSERVICE", "s")], home.path())).unwrap();
    assert_eq!(shown(&resolved), "h 1 me service_db -");
}

#[test]
fn the_system_has_a_service_file_too() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("etc");
    write(&dir.join("pg_service.conf"), "[s]\nhost=of-system\n", 0o644);
    write(&home.path().join("mine"), "[mine]\nhost=of-mine\n", 0o644);
    let (dir, mine) = (dir.display().to_string(), home.path().join("mine").display().to_string());
    let around = environment(&[("PGSYSCONFDIR", &dir), ("PGSERVICEFILE", &mine)], home.path());
    assert_eq!(resolve("service=s", &around).unwrap().host, "of-system");
    assert_eq!(resolve("service=mine", &around).unwrap().host, "of-mine");
    let error = resolve("service=x", &around).unwrap_err().to_string();
    assert_eq!(error, format!("service `x` is not defined in {mine}, {dir}/pg_service.conf"));
    let around = environment(&[("PGSERVICEFILE", "/nowhere")], home.path());
    assert!(resolve("service=s", &around).unwrap_err().to_string().starts_with("/nowhere: No such file"));
}

#[test]
fn the_password_file_is_used_when_nobody_else_can_read_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    let lines = "# mine\nh:5432:db:u:exact\nh:*:*:u:any\nlocalhost:*:*:*:socket\n10.0.0.1:*:*:*:address\n";
    write(&file, lines, 0o600);
    let around = environment(&[], home.path());
    let password = |conninfo: &str| resolve(conninfo, &around).unwrap().access.password.map(|p| p.expose().to_owned());
    for (conninfo, found) in [
        ("host=h dbname=db user=u", Some("exact")),
        ("host=h dbname=other user=u", Some("any")),
        ("host=h user=u password=mine", Some("mine")),
        ("host=h hostaddr=10.0.0.1 user=u", Some("any")),
        ("hostaddr=10.0.0.1 user=u", Some("address")),
        ("host=/tmp", Some("socket")),
        ("host=/elsewhere", None),
        ("host=other", None),
        ("host=h user=u passfile=/nowhere", None),
    ] {
        assert_eq!(password(conninfo).as_deref(), found, "{conninfo}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let resolved = resolve("host=h dbname=db user=u", &around).unwrap();
    assert!(resolved.access.password.is_none());
    assert!(resolved.notes[0].contains("group or world can read it"), "{:?}", resolved.notes);
    assert!(!format!("{:?}", resolve("host=h password=hunter2", &around)).contains("hunter2"));
}

#[test]
fn values_are_checked() {
    for (conninfo, said) in [
        ("port=x", "port: is no number from 1 to 65535"),
        ("port=0", "port: is no number"),
        ("port=65536", "port: is no number"),
        ("host=a,b", "host is a list; one node is one server"),
        ("postgresql://a:1,b:2/", "host is a list; one node is one server"),
        ("host=a port=1,2", "port is a list; one node is one server"),
        ("postgresql://a,b/", "host is a list; one node is one server"),
        ("hostaddr=localhost", "hostaddr: `localhost` is no IP address"),
        ("host=a connect_timeout=soon", "connect_timeout: `soon` is no whole number"),
        ("host=a sslmode=verify_full", "sslmode: `verify_full` is none of `disable`, `allow`"),
        ("host=a sslmode=verify_full", "did you mean `verify-full`?"),
        ("host=a sslmode=prefer sslrootcert=system", "sslmode: `prefer` is too weak for sslrootcert=system"),
        ("host=a sslnegotiation=direct", "sslmode: `prefer` is too weak for sslnegotiation=direct"),
        ("hostaddr=10.0.0.1 sslmode=verify-full", "sslmode=verify-full needs a host name"),
        ("host=a sslmode=verify-ca", ".postgresql/root.crt does not exist, so sslmode=verify-ca has nothing to check"),
        ("host=a sslsni=yes", "sslsni: `yes` is neither 0 nor 1"),
        ("host=a ssl_max_protocol_version=TLSv1.1", "TLS is spoken from TLSv1.2 on"),
        ("host=a ssl_min_protocol_version=SSLv3", "`SSLv3` is none of TLSv1"),
        ("host=a channel_binding=require", "channel_binding: `require` cannot be had"),
        ("host=a gssencmode=require", "gssencmode: `require` cannot be had"),
        ("host=a target_session_attrs=read-write", "a node is one server"),
        ("host=a sslcrl=x", "sslcrl: revocation lists"),
        ("host=/tmp requirepeer=postgres", "requirepeer: who runs the server"),
        ("host=a replication=database", "replication: `database` cannot be had"),
        ("host=a sslcertmode=require", "sslcertmode=require, and it does not exist"),
        ("hoost=a", "did you mean `host`?"),
    ] {
        let error = refused(conninfo, &[]);
        assert!(error.contains(said), "{conninfo}: {error}");
    }
    assert!(refused("host=a", &[("PGSSLMODE", "always")]).starts_with("sslmode: `always` is none of"));
}

#[test]
fn what_changes_nothing_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let conninfo = "host=a sslcompression=1 gssencmode=prefer krbsrvname=x gsslib=gssapi requirepeer=p replication=off \
                    channel_binding=prefer load_balance_hosts=random target_session_attrs=any sslpassword=x \
                    max_protocol_version=latest application_name=mine client_encoding=latin1 hostaddr=::1 \
                    keepalives_idle=10 keepalives_interval=0 tcp_user_timeout=1500 connect_timeout=3 options='-c jit=off'";
    let resolved = resolve(conninfo, &environment(&[("PGAPPNAME", "x")], home.path())).unwrap();
    assert_eq!(resolved.notes.len(), 2, "{:?}", resolved.notes);
    let expected = SocketOptions {
        keepalives: true,
        idle: Some(Duration::from_secs(10)),
        interval: None,
        count: None,
        user_timeout: Some(Duration::from_millis(1500)),
    };
    assert_eq!(resolved.access.socket, expected);
    assert_eq!(resolved.access.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(resolved.access.options.as_deref(), Some("-c jit=off"));
    assert_eq!(resolved.access.tls.mode, Mode::Prefer);
    let off = resolve("host=a keepalives=0 connect_timeout=-1", &environment(&[], home.path())).unwrap();
    assert!(!off.access.socket.keepalives && off.access.connect_timeout.is_none());
}

#[test]
fn sslmode_comes_from_where_libpq_takes_it() {
    let home = tempfile::tempdir().unwrap();
    let mode = |conninfo: &str, variables: &[(&str, &str)]| {
        resolve(conninfo, &environment(variables, home.path())).unwrap().access.tls.mode
    };
    assert_eq!(mode("host=a", &[]), Mode::Prefer);
    assert_eq!(mode("host=a", &[("PGSSLMODE", "require")]), Mode::Require);
    assert_eq!(mode("host=a", &[("PGREQUIRESSL", "1")]), Mode::Require);
    assert_eq!(mode("host=a sslmode=allow", &[("PGSSLMODE", "require")]), Mode::Allow);
    assert_eq!(mode("host=/tmp sslmode=verify-full", &[]), Mode::Disable, "a Unix socket is not encrypted");
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["me".to_owned()]).unwrap();
    let dir = home.path().join(".postgresql");
    write(&dir.join("postgresql.crt"), &made.cert.pem(), 0o644);
    let around = environment(&[], home.path());
    let error = || resolve("host=a", &around).unwrap_err().to_string();
    assert!(error().contains("its private key file"), "{}", error());
    write(&dir.join("postgresql.key"), &made.signing_key.serialize_pem(), 0o644);
    assert!(error().contains("that group or world can read is not used"), "{}", error());
    assert!(resolve("host=a sslcertmode=disable", &around).is_ok());
    write(&dir.join("postgresql.key"), &made.signing_key.serialize_pem(), 0o600);
    assert!(resolve("host=a", &around).is_ok());
    write(
        &dir.join("postgresql.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        0o600,
    );
    assert!(error().contains("encrypted private key cannot be used"), "{}", error());
}
