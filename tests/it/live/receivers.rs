//! Real servers that take line protocol, on loopback ports of their own and in temporary folders: InfluxDB 1 and
//! VictoriaMetrics; and what both are asked by: the smallest HTTP client that there can be.

use super::fixture::not_run;
use flate2::read::MultiGzDecoder;
use influxdb_line_protocol::{FieldValue, parse_lines};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Influx1,
    VictoriaMetrics,
}

/// A server; it ends when this is dropped.
pub struct Receiver {
    kind: Kind,
    pub port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Receiver {
    /// Starts one; none where its program is not installed, which is then listed as not run.
    pub fn start(kind: Kind) -> Option<Receiver> {
        let (program, package) = match kind {
            Kind::Influx1 => ("influxd", "influxdb"),
            Kind::VictoriaMetrics => ("victoria-metrics", "victoria-metrics"),
        };
        if Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            not_run(&format!("live::sinks ({program})"), &format!("run: sudo .ci/setup-tests (package {package})"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pgbench-rs-receiver-").tempdir().expect("a temporary directory");
        let mut receiver = Receiver { kind, port: free_port(), dir, child: None };
        receiver.begin();
        if kind == Kind::Influx1 {
            receiver.ask("POST", "/query?q=CREATE%20DATABASE%20lab");
        }
        Some(receiver)
    }

    /// Starts its process, on what the one before left.
    pub fn begin(&mut self) {
        let dir = self.dir.path();
        let mut command = match self.kind {
            Kind::Influx1 => {
                let (dir, port, other) = (dir.display(), self.port, free_port());
                let text = format!(
                    "reporting-enabled = false\nbind-address = '127.0.0.1:{other}'\n[meta]\ndir = '{dir}/meta'\n\
                     [data]\ndir = '{dir}/data'\nwal-dir = '{dir}/wal'\n[monitor]\nstore-enabled = false\n\
                     [http]\nbind-address = '127.0.0.1:{port}'\n"
                );
                std::fs::write(self.dir.path().join("influxdb.conf"), text).expect("a configuration");
                let mut command = Command::new("influxd");
                command.arg("run").arg("-config").arg(self.dir.path().join("influxdb.conf"));
                command
            }
            Kind::VictoriaMetrics => {
                let mut command = Command::new("victoria-metrics");
                command.arg("-storageDataPath").arg(dir.join("data"));
                command.arg(format!("-httpListenAddr=127.0.0.1:{}", self.port));
                // Without it, what is sent twice is there twice.
                command.arg("-dedup.minScrapeInterval=1ms");
                command
            }
        };
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        let copy = log.try_clone().expect("a log");
        self.child = Some(command.stdout(copy).stderr(log).spawn().expect("it starts"));
        let limit = Instant::now() + Duration::from_secs(30);
        let path = if self.kind == Kind::Influx1 { "/ping" } else { "/health" };
        while http(self.port, "GET", path).is_none_or(|(status, _)| status >= 300) {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < limit, "it does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ended");
        }
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let (status, text) = http(self.port, method, path).expect("it answers");
        assert!(status < 300, "{status}: {text}");
        text
    }

    /// The keys of a scenario's `[sink.NAME]`.
    pub fn as_sink(&self) -> String {
        match self.kind {
            Kind::Influx1 => {
                format!("kind = \"influx1\"\nurl = \"http://127.0.0.1:{}\"\ndatabase = \"lab\"\n", self.port)
            }
            Kind::VictoriaMetrics => format!("kind = \"victoria_metrics\"\nurl = \"http://127.0.0.1:{}\"\n", self.port),
        }
    }

    /// All that it has.
    pub fn contents(&self) -> Samples {
        match self.kind {
            Kind::Influx1 => influx_contents(&self.ask("GET", INFLUX_ALL)),
            Kind::VictoriaMetrics => {
                self.ask("GET", "/internal/force_flush");
                victoria_contents(
                    &self.ask("GET", "/api/v1/export?start=0&end=4102444800&match[]=%7B__name__!=%22%22%7D"),
                )
            }
        }
    }

    /// The series that InfluxDB answers a query with.
    pub fn select(&self, query: &str) -> Vec<Value> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self.ask("GET", &format!("/query?db=lab&epoch=ms&q={query}"));
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let result = &answer["results"][0];
        assert!(result.get("error").is_none(), "{query}: {result}");
        result["series"].as_array().cloned().unwrap_or_default()
    }

    /// The type of each field, `measurement.field`, as InfluxDB has it.
    pub fn field_types(&self) -> BTreeMap<String, String> {
        let answer: Value =
            serde_json::from_str(&self.ask("GET", "/query?db=lab&q=SHOW%20FIELD%20KEYS")).expect("JSON");
        let mut types = BTreeMap::new();
        for series in answer["results"][0]["series"].as_array().expect("series") {
            for row in series["values"].as_array().expect("values") {
                let key = format!("{}.{}", series["name"].as_str().expect("a name"), row[0].as_str().expect("a field"));
                let before = types.insert(key.clone(), row[1].as_str().expect("a type").to_owned());
                assert_eq!(before, None, "{key} has two types");
            }
        }
        types
    }
}

/// `SELECT * FROM /.*/ GROUP BY *`
const INFLUX_ALL: &str = "/query?db=lab&epoch=ms&q=SELECT%20*%20FROM%20/.*/%20GROUP%20BY%20*";

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Status and body; nothing if there is no answer.
fn http(port: u16, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // Of 1.0, so that the answer comes in one piece.
    stream.write_all(format!("{method} {path} HTTP/1.0\r\nhost: x\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    Number(f64),
    Truth(bool),
    Text(String),
}

/// Measurement, tags, field and instant in milliseconds.
type Key = (String, BTreeMap<String, String>, String, i64);
/// Values by what identifies them.
pub type Samples = BTreeMap<Key, Sample>;

/// The values in a `metrics.lp.gz`, and how many lines it has.
pub fn written(file: &Path) -> (Samples, u64) {
    let mut text = String::new();
    let file = std::fs::File::open(file).expect("metrics.lp.gz");
    MultiGzDecoder::new(file).read_to_string(&mut text).expect("whole gzip members");
    let mut samples = Samples::new();
    let mut count = 0;
    for line in parse_lines(&text) {
        let line = line.expect("a line of line protocol");
        count += 1;
        let tags = line.series.tag_set.iter().flatten();
        let tags: BTreeMap<String, String> = tags.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        for (field, value) in &line.field_set {
            let value = match value {
                // All of ours are below 2^53.
                FieldValue::I64(number) => Sample::Number(*number as f64),
                FieldValue::F64(number) => Sample::Number(*number),
                FieldValue::Boolean(truth) => Sample::Truth(*truth),
                FieldValue::String(text) => Sample::Text(text.to_string()),
                FieldValue::U64(_) => panic!("nothing is written as unsigned"),
            };
            let at = line.timestamp.expect("a stamp");
            let before =
                samples.insert((line.series.measurement.to_string(), tags.clone(), field.to_string(), at), value);
            assert_eq!(before, None, "two lines of one series and instant: {}", line.series.measurement);
        }
    }
    (samples, count)
}

fn influx_contents(json: &str) -> Samples {
    let answer: Value = serde_json::from_str(json).expect("JSON");
    let mut samples = Samples::new();
    for series in answer["results"][0]["series"].as_array().expect("series") {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let tags = series["tags"].as_object().expect("tags").iter().map(|(key, value)| (key.clone(), text(value)));
        // A tag that another series of the measurement has is empty here.
        let tags: BTreeMap<String, String> = tags.filter(|(_, value)| !value.is_empty()).collect();
        let columns: Vec<String> = series["columns"].as_array().expect("columns").iter().map(text).collect();
        for row in series["values"].as_array().expect("values") {
            let at = row[0].as_i64().expect("an instant");
            for (field, value) in columns.iter().zip(row.as_array().expect("a row")).skip(1) {
                let value = match value {
                    Value::Null => continue,
                    Value::Bool(truth) => Sample::Truth(*truth),
                    Value::String(text) => Sample::Text(text.clone()),
                    number => Sample::Number(number.as_f64().expect("a number")),
                };
                samples.insert((text(&series["name"]), tags.clone(), field.clone(), at), value);
            }
        }
    }
    samples
}

/// The field is a part of the name here, and so it is in [`mapped`].
fn victoria_contents(lines: &str) -> Samples {
    let mut samples = Samples::new();
    for line in lines.lines() {
        let series: Value = serde_json::from_str(line).expect("JSON");
        let mut tags: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).expect("tags");
        let name = tags.remove("__name__").expect("a name");
        let (values, stamps) = (series["values"].as_array().expect("values"), series["timestamps"].as_array());
        for (value, at) in values.iter().zip(stamps.expect("stamps")) {
            let key = (name.clone(), tags.clone(), String::new(), at.as_i64().expect("an instant"));
            samples.insert(key, Sample::Number(value.as_f64().expect("a number")));
        }
    }
    samples
}

/// What VictoriaMetrics makes of samples: every value a number, a truth value 1 or 0, a string 0; the field a part of the
/// name.
pub fn mapped(samples: &Samples) -> Samples {
    let map = |((measurement, tags, field, at), value): (&Key, &Sample)| {
        let number = match value {
            Sample::Number(number) => *number,
            Sample::Truth(truth) => f64::from(u8::from(*truth)),
            Sample::Text(_) => 0.0,
        };
        ((format!("{measurement}_{field}"), tags.clone(), String::new(), *at), Sample::Number(number))
    };
    samples.iter().map(map).collect()
}

/// Fails with the first difference. Numbers may differ by `tolerance` of themselves.
pub fn assert_same(found: &Samples, wanted: &Samples, tolerance: f64) {
    for (key, value) in wanted {
        let same = match (found.get(key), value) {
            (Some(Sample::Number(found)), Sample::Number(wanted)) => (found - wanted).abs() <= tolerance * wanted.abs(),
            (Some(found), wanted) => found == wanted,
            (None, _) => false,
        };
        assert!(same, "{key:?}: {value:?} was written, {:?} is there", found.get(key));
    }
    let more: Vec<_> = found.keys().filter(|key| !wanted.contains_key(*key)).take(3).collect();
    assert!(more.is_empty(), "more is there than was written: {more:?}");
}
