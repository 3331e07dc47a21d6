use super::super::schema::FILES;
use super::*;
use proptest::prelude::*;

fn line(file: &str, schema: Schema, line: &str) -> Result<Chunk, Wrong> {
    let shape = FILES.iter().find(|shape| shape.file == file).expect("a file");
    let mut tabs = Tabs::default();
    line.match_indices('\t').for_each(|(at, _)| tabs.push(at));
    let mut chunk = Chunk::default();
    encode(&Fields::split(line.as_bytes(), &tabs), shape, schema, &mut chunk).map(|()| chunk)
}

/// The fields of a binary row; `None` is null.
fn fields(chunk: &Chunk) -> Vec<Option<Vec<u8>>> {
    let bytes = chunk.bytes();
    let count = i16::from_be_bytes([bytes[0], bytes[1]]);
    let mut rest = &bytes[2..];
    let mut fields = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(rest[..4].try_into().expect("four bytes"));
        rest = &rest[4..];
        fields.push(usize::try_from(length).ok().map(|length| {
            let field = rest[..length].to_vec();
            rest = &rest[length..];
            field
        }));
    }
    assert!(rest.is_empty());
    fields
}

proptest! {
    /// As text a line is had back to the byte, whatever it holds.
    #[test]
    fn text_is_as_it_stands(written in proptest::collection::vec("[^\t\n\0]{0,20}", 6)) {
        prop_assume!(written[0] != "\\N" && written[1] != "\\N");
        let chunk = line("title.principals", Schema::Text, &written.join("\t")).expect("a row");
        let read: Vec<String> = fields(&chunk)
            .into_iter()
            .map(|field| field.map_or("\\N".to_owned(), |field| String::from_utf8(field).expect("text")))
            .collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn integers_are_as_std_reads_them(value in any::<i32>()) {
        prop_assert_eq!(int(value.to_string().as_bytes()), Some(value));
    }

    #[test]
    fn what_is_no_integer_is_none(text in "[0-9 +.eE-]{0,14}") {
        let wanted = text.parse::<i32>().ok().filter(|_| !text.starts_with('+') && text.len() <= 11);
        let padded = text.trim_start_matches('-').len() > 10;
        prop_assert_eq!(int(text.as_bytes()), wanted.filter(|_| !padded));
    }

    /// Whatever strings there are, JSON of them is taken, and read as jsonb would.
    #[test]
    fn any_strings_are_json(strings in proptest::collection::vec("[^\0]{0,10}", 0..4)) {
        let json = serde_json::to_string(&strings).expect("JSON");
        prop_assert!(serde_json::from_str::<Strings>(&json).is_ok());
    }
}

#[test]
fn a_row_of_each_type() {
    let chunk = line("title.basics", Schema::Typed, "tt1\tshort\tA \"b\"\tA\\tb\t1\t1894\t\\N\t-1\tShort,Sci-Fi");
    let read = fields(&chunk.expect("a row"));
    assert_eq!(read[2].as_deref(), Some(b"A \"b\"".as_slice()));
    assert_eq!(read[3].as_deref(), Some(b"A\\tb".as_slice()), "a backslash is a backslash");
    assert_eq!(read[4].as_deref(), Some([1].as_slice()));
    assert_eq!(read[5].as_deref(), Some(1894i32.to_be_bytes().as_slice()));
    assert_eq!(read[6], None);
    assert_eq!(read[7].as_deref(), Some((-1i32).to_be_bytes().as_slice()));
    let rating = fields(&line("title.ratings", Schema::Typed, "tt1\t5.8\t1472").expect("a row"));
    assert_eq!(rating[1].as_deref(), Some(5.8f32.to_be_bytes().as_slice()));
}

#[test]
fn what_is_no_row_says_why() {
    let of = |text: &str| line("title.principals", Schema::Typed, text).expect_err("no row").to_string();
    assert_eq!(of(""), "1 columns instead of 6");
    assert_eq!(of("tt1\t1\tnm1\tself\t\\N"), "5 columns instead of 6");
    assert_eq!(of("tt1\t1\tnm1\tself\t\\N\t\\N\tx"), "7 columns instead of 6");
    assert_eq!(of(&"\t".repeat(100)), "101 columns instead of 6");
    assert_eq!(of("\\N\t1\tnm1\tself\t\\N\t\\N"), "tconst is null, and of the primary key");
    assert_eq!(of("tt1\tone\tnm1\tself\t\\N\t\\N"), "ordering is no integer: one");
    assert_eq!(of("tt1\t2147483648\tnm1\tself\t\\N\t\\N"), "ordering is no integer: 2147483648");
    assert_eq!(of("tt1\t\tnm1\tself\t\\N\t\\N"), "ordering is no integer: ");
    for json in ["[\"a\"", "[\"a\"] ]", "{}", "[1]", "a", "", r#"["\u0000"]"#, r#"["\ud800"]"#, r#"["\q"]"#] {
        let why = of(&format!("tt1\t1\tnm1\tself\t\\N\t{json}"));
        assert_eq!(why, format!("characters is no JSON array of strings: {json}"));
    }
    assert!(line("title.principals", Schema::Typed, "tt1\t1\tnm1\tself\t\\N\t[\"\\ud83d\\ude00\"]").is_ok());
    let flag = line("title.basics", Schema::Typed, "tt1\tshort\tA\tA\t2\t\\N\t\\N\t\\N\t\\N").expect_err("no row");
    assert_eq!(flag.to_string(), "isAdult is no 0 or 1: 2");
    for rating in ["nan", "inf", "1e3", ".", "", "1.2.3"] {
        assert!(line("title.ratings", Schema::Typed, &format!("tt1\t{rating}\t1")).is_err(), "{rating}");
    }
    assert!(line("title.principals", Schema::Text, "tt1\tone\tnm1\tself\t\\N\t[").is_ok(), "text takes it");
}
