//! The Join Order Benchmark's files: made by hand, in their form.

use super::super::fixture::Primary;
use super::files::LIMIT;
use super::{SMALL, client};
use pgbench_rs::etl::job::{FILES, Files};
use pgbench_rs::etl::load::{Order, Progress, Settings, load};
use pgbench_rs::etl::source::Source;
use std::fs;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn its_rows_are_as_copy_itself_reads_them() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let dir = tempfile::tempdir().expect("a directory");
    let good = "1,\"A \\\"quoted\\\" title, with \\\\ and \\n\",,1,2001,,\"\",,,,\"2001-\nonwards\",\n\
                2,plain,II,7,,,C5,,1,2,,d41d8cd98f00b204e9800998ecf8427e\n";
    for shape in &FILES {
        let rows = if shape.name == "title" { good } else { "" };
        fs::write(dir.path().join(format!("{}.csv", shape.name)), rows).expect("it is written");
    }
    let bad = "3,x\n,no key,,1,,,,,,,,\n2,again,,1,,,,,,,,\n4,year,,1,then,,,,,,,\n";
    fs::write(dir.path().join("title.csv"), format!("{good}{bad}")).expect("it is written");
    let source = Source::Job(Files::open(dir.path()).expect("the files"));
    let order = Order {
        progress: Arc::new(Progress::new(&source)),
        source,
        host: primary.host.clone(),
        login: primary.login("test"),
        settings: Settings::default(),
        rejects: dir.path().join("rejects"),
    };
    let loaded = tokio::time::timeout(LIMIT, load(order, std::future::pending())).await.expect("it ends");
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
    let title = loaded.tables.iter().find(|table| table.name == "title").expect("a table");
    assert_eq!((title.rows_in, title.loaded, title.rejected), (6, 2, 4));
    let rejects = fs::read_to_string(dir.path().join("rejects/title.tsv")).expect("rejects");
    let lines: Vec<&str> = rejects.lines().skip(1).map(|line| line.rsplit_once('\t').expect("columns").0).collect();
    let wanted = [
        "4\t2 columns instead of 12",
        "5\tid is null, and of the primary key",
        "7\tproduction_year is no integer: then",
        "6\tduplicate of (id): 2",
    ];
    assert_eq!(lines, wanted);
    // The server's own reading of the good rows is the measure.
    let theirs = dir.path().join("good.csv");
    super::super::fixture::open_to_all(dir.path());
    fs::write(&theirs, good).expect("it is written");
    let copy =
        format!("CREATE TABLE theirs (LIKE title); COPY theirs FROM '{}' (FORMAT csv, ESCAPE '\\')", theirs.display());
    client.batch_execute(&copy).await.expect("it copies");
    let same = "SELECT count(*) FROM (TABLE title INTERSECT TABLE theirs) AS common";
    assert_eq!(client.query_one(same, &[]).await.expect("a count").get::<_, i64>(0), 2);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename IN (SELECT table_name FROM pgbench_rs_load)";
    assert_eq!(client.query_one(indexes, &[]).await.expect("a count").get::<_, i64>(0), 44);
}
