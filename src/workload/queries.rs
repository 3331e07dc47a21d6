//! Analytical joins of growing width on IMDb's seven typed tables, in the spirit of the Join Order Benchmark (Leis et al.,
//! "How Good Are Query Optimizers, Really?", 2015): skewed columns that depend on each other, through which an optimizer
//! must guess. The SQL is our own. Each gives one row of two `bigint`s: how many rows the join has, and a sum over them.
//!
//! What they come to on the synthetic tables of one scale and seed stands in `answers.json`, computed by SQLite from the
//! same rows (`.ci/imdb-answers`), so that a wrong answer of a server shows.

use super::transaction::Step;
use serde::Deserialize;

/// A query.
#[derive(Debug)]
pub struct Query {
    /// Its name, which begins with the number of tables that it joins.
    pub name: &'static str,
    pub(super) step: Step,
}

/// What a query comes to: rows, and a sum over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Answer(pub i64, pub i64);

const fn query(name: &'static str, sql: &'static str) -> Query {
    Query { name, step: Step { sql, of: &[] } }
}

/// All of them, the narrow ones first. A rating counts in tenths.
pub const ALL: &[Query] = &[
    query(
        "imdb_q01_2",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint FROM title_basics t JOIN title_ratings r USING (tconst) \
         WHERE t.title_type = 'movie' AND r.average_rating >= 7 AND t.start_year BETWEEN 1990 AND 2020",
    ),
    query(
        "imdb_q02_2",
        "SELECT count(*), coalesce(sum(e.episode_number), 0)::bigint \
         FROM title_episode e JOIN title_basics s ON s.tconst = e.parent_tconst \
         WHERE s.title_type = 'tvSeries' AND e.season_number = 1 AND s.start_year >= 2000",
    ),
    query(
        "imdb_q03_2",
        "SELECT count(*), coalesce(sum(t.start_year), 0)::bigint \
         FROM title_akas a JOIN title_basics t ON t.tconst = a.title_id \
         WHERE a.region = 'DE' AND t.start_year >= 2000 AND t.runtime_minutes > 60",
    ),
    query(
        "imdb_q04_2",
        "SELECT count(*), coalesce(sum(n.birth_year), 0)::bigint \
         FROM title_principals p JOIN name_basics n USING (nconst) \
         WHERE p.category = 'composer' AND n.birth_year >= 1950",
    ),
    query(
        "imdb_q05_3",
        "SELECT count(*), coalesce(sum(t.start_year - n.birth_year), 0)::bigint \
         FROM title_basics t JOIN title_principals p USING (tconst) JOIN name_basics n USING (nconst) \
         WHERE t.title_type = 'movie' AND p.category = 'actress' AND t.start_year BETWEEN 2000 AND 2020 \
           AND n.birth_year IS NOT NULL",
    ),
    query(
        "imdb_q06_3",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_episode e JOIN title_basics s ON s.tconst = e.parent_tconst JOIN title_ratings r ON r.tconst = e.tconst \
         WHERE s.genres @> ARRAY['Drama'] AND r.average_rating >= 6",
    ),
    query(
        "imdb_q07_3",
        "SELECT count(*), coalesce(sum(round(r.average_rating * 10)), 0)::bigint \
         FROM title_akas a JOIN title_basics t ON t.tconst = a.title_id JOIN title_ratings r ON r.tconst = t.tconst \
         WHERE a.region = 'FR' AND NOT a.is_original_title AND t.genres @> ARRAY['Comedy']",
    ),
    query(
        "imdb_q08_4",
        "SELECT count(*), coalesce(sum(t.start_year), 0)::bigint \
         FROM title_crew c CROSS JOIN LATERAL unnest(c.directors) AS d (nconst) JOIN name_basics n ON n.nconst = d.nconst \
         JOIN title_basics t ON t.tconst = c.tconst \
         WHERE n.death_year IS NOT NULL AND t.start_year IS NOT NULL",
    ),
    query(
        "imdb_q09_4",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_basics t JOIN title_ratings r USING (tconst) JOIN title_principals p USING (tconst) \
         JOIN name_basics n USING (nconst) \
         WHERE p.category = 'director' AND r.average_rating >= 7 AND n.birth_year < 1970",
    ),
    query(
        "imdb_q10_4",
        "SELECT count(*), coalesce(sum(re.num_votes), 0)::bigint \
         FROM title_episode e JOIN title_ratings re ON re.tconst = e.tconst JOIN title_basics s ON s.tconst = e.parent_tconst \
         JOIN title_ratings rs ON rs.tconst = s.tconst \
         WHERE re.average_rating > rs.average_rating",
    ),
    query(
        "imdb_q11_4",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_basics t JOIN title_principals p1 ON p1.tconst = t.tconst JOIN title_principals p2 ON p2.tconst = t.tconst \
         JOIN title_ratings r ON r.tconst = t.tconst \
         WHERE p1.category = 'actor' AND p2.category = 'actress' AND t.title_type = 'movie' AND r.num_votes >= 50",
    ),
    query(
        "imdb_q12_4",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_basics t JOIN title_akas a1 ON a1.title_id = t.tconst JOIN title_akas a2 ON a2.title_id = t.tconst \
         JOIN title_ratings r ON r.tconst = t.tconst \
         WHERE a1.region = 'DE' AND a2.region = 'FR' AND t.start_year > 1980",
    ),
    query(
        "imdb_q13_5",
        "SELECT count(*), coalesce(sum(n1.birth_year - n2.birth_year), 0)::bigint \
         FROM title_basics t JOIN title_principals p1 ON p1.tconst = t.tconst JOIN name_basics n1 ON n1.nconst = p1.nconst \
         JOIN title_principals p2 ON p2.tconst = t.tconst JOIN name_basics n2 ON n2.nconst = p2.nconst \
         WHERE p1.category = 'actor' AND p2.category = 'director' AND n1.birth_year > n2.birth_year \
           AND t.title_type <> 'tvEpisode'",
    ),
    query(
        "imdb_q14_5",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_basics t JOIN title_episode e USING (tconst) JOIN title_ratings r USING (tconst) \
         JOIN title_principals p USING (tconst) JOIN name_basics n USING (nconst) \
         WHERE n.birth_year BETWEEN 1950 AND 1990 AND e.season_number <= 3",
    ),
    query(
        "imdb_q15_5",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM name_basics n CROSS JOIN LATERAL unnest(n.known_for_titles) AS k (tconst) \
         JOIN title_basics t ON t.tconst = k.tconst JOIN title_ratings r ON r.tconst = t.tconst \
         JOIN title_principals p ON p.tconst = t.tconst \
         WHERE n.birth_year >= 1960 AND p.category = 'composer'",
    ),
    query(
        "imdb_q16_6",
        "SELECT count(*), coalesce(sum(rs.num_votes), 0)::bigint \
         FROM title_basics s JOIN title_ratings rs ON rs.tconst = s.tconst JOIN title_episode e ON e.parent_tconst = s.tconst \
         JOIN title_basics t ON t.tconst = e.tconst JOIN title_principals p ON p.tconst = t.tconst \
         JOIN name_basics n ON n.nconst = p.nconst \
         WHERE s.genres @> ARRAY['Comedy'] AND p.category = 'writer' AND n.birth_year IS NOT NULL",
    ),
    query(
        "imdb_q17_6",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_crew c CROSS JOIN LATERAL unnest(c.writers) AS w (nconst) JOIN name_basics n ON n.nconst = w.nconst \
         JOIN title_principals p ON p.nconst = n.nconst JOIN title_basics t ON t.tconst = p.tconst \
         JOIN title_ratings r ON r.tconst = t.tconst \
         WHERE p.category IN ('actor', 'actress', 'self') AND r.average_rating >= 5",
    ),
    query(
        "imdb_q18_6",
        "SELECT count(*), coalesce(sum(s.start_year), 0)::bigint \
         FROM title_episode e1 JOIN title_episode e2 ON e2.parent_tconst = e1.parent_tconst \
         JOIN title_principals p1 ON p1.tconst = e1.tconst JOIN title_principals p2 ON p2.tconst = e2.tconst \
         JOIN title_basics s ON s.tconst = e1.parent_tconst JOIN name_basics n ON n.nconst = p1.nconst \
         WHERE e2.season_number = e1.season_number + 1 AND p2.nconst = p1.nconst AND s.start_year IS NOT NULL",
    ),
    query(
        "imdb_q19_7",
        "SELECT count(*), coalesce(sum(round(r.average_rating * 10)), 0)::bigint \
         FROM title_basics t JOIN title_ratings r ON r.tconst = t.tconst JOIN title_akas a ON a.title_id = t.tconst \
         JOIN title_principals p1 ON p1.tconst = t.tconst JOIN name_basics n1 ON n1.nconst = p1.nconst \
         JOIN title_principals p2 ON p2.tconst = t.tconst JOIN name_basics n2 ON n2.nconst = p2.nconst \
         WHERE a.region = 'GB' AND p1.category = 'actor' AND p2.category = 'writer' AND n1.birth_year IS NOT NULL \
           AND n2.birth_year IS NOT NULL",
    ),
    query(
        "imdb_q20_7",
        "SELECT count(*), coalesce(sum(re.num_votes), 0)::bigint \
         FROM title_episode e JOIN title_basics t ON t.tconst = e.tconst JOIN title_basics s ON s.tconst = e.parent_tconst \
         JOIN title_ratings re ON re.tconst = e.tconst JOIN title_ratings rs ON rs.tconst = s.tconst \
         JOIN title_principals p ON p.tconst = e.tconst JOIN name_basics n ON n.nconst = p.nconst \
         WHERE rs.average_rating >= 5 AND p.category <> 'self'",
    ),
    query(
        "imdb_q21_8",
        "SELECT count(*), coalesce(sum(r.num_votes), 0)::bigint \
         FROM title_basics t JOIN title_ratings r ON r.tconst = t.tconst \
         JOIN title_principals p1 ON p1.tconst = t.tconst JOIN name_basics n1 ON n1.nconst = p1.nconst \
         JOIN title_principals p2 ON p2.tconst = t.tconst JOIN name_basics n2 ON n2.nconst = p2.nconst \
         JOIN title_principals p3 ON p3.tconst = t.tconst JOIN name_basics n3 ON n3.nconst = p3.nconst \
         WHERE p1.category = 'director' AND p2.category = 'writer' AND p3.category = 'editor' \
           AND t.start_year BETWEEN 1950 AND 2025",
    ),
    query(
        "imdb_q22_9",
        "SELECT count(*), coalesce(sum(rs.num_votes), 0)::bigint \
         FROM title_episode e JOIN title_basics t ON t.tconst = e.tconst JOIN title_basics s ON s.tconst = e.parent_tconst \
         JOIN title_ratings rs ON rs.tconst = s.tconst JOIN title_akas a ON a.title_id = s.tconst \
         JOIN title_crew c ON c.tconst = e.tconst CROSS JOIN LATERAL unnest(c.directors) AS d (nconst) \
         JOIN name_basics n ON n.nconst = d.nconst JOIN title_principals p ON p.tconst = e.tconst AND p.nconst = n.nconst \
         WHERE a.region IN ('DE', 'FR', 'GB') AND p.category = 'director'",
    ),
];

/// `answers.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    scale: f64,
    seed: u64,
    answers: indexmap::IndexMap<String, Answer>,
}

/// What the queries come to on the synthetic tables of this scale and seed, if that is known.
pub fn answers(scale: f64, seed: u64) -> Option<Vec<Answer>> {
    // The file is part of the program; a test reads it.
    let known: Answers = serde_json::from_str(include_str!("answers.json")).ok()?;
    if (known.scale, known.seed) != (scale, seed) {
        return None;
    }
    ALL.iter().map(|query| known.answers.get(query.name).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_has_its_answer_and_its_width_in_its_name() {
        let known: Answers = serde_json::from_str(include_str!("answers.json")).unwrap();
        assert_eq!(answers(known.scale, known.seed).unwrap().len(), ALL.len());
        assert_eq!(answers(known.scale * 2.0, known.seed), None);
        assert_eq!(known.answers.len(), ALL.len());
        assert!(ALL.len() >= 20);
        let mut before = 0;
        for query in ALL {
            let width: usize = query.name.rsplit('_').next().unwrap().parse().unwrap();
            assert_eq!(query.step.sql.matches(" JOIN ").count() + 1, width, "{}", query.name);
            assert!(width >= before, "{}", query.name);
            before = width;
            let Answer(rows, _) = known.answers[query.name];
            assert!(rows > 0, "{} is about nothing", query.name);
        }
    }
}
