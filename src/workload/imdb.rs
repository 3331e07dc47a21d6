//! Short reads of IMDb's seven typed tables, as a site would make them. Each is one statement.

use super::transaction::{Step, Variable};

pub(super) const POINT: Step = Step {
    sql: "SELECT primary_title, title_type, start_year, genres FROM title_basics WHERE tconst = $1",
    of: &[Variable::Title],
};

pub(super) const TITLE: Step = Step {
    sql: "SELECT t.primary_title, p.ordering, p.category, p.characters, n.primary_name \
          FROM title_basics t JOIN title_principals p USING (tconst) JOIN name_basics n USING (nconst) \
          WHERE t.tconst = $1 ORDER BY p.ordering",
    of: &[Variable::Title],
};

pub(super) const PERSON: Step = Step {
    sql: "SELECT t.primary_title, t.start_year, p.category, r.average_rating \
          FROM title_principals p JOIN title_basics t USING (tconst) LEFT JOIN title_ratings r USING (tconst) \
          WHERE p.nconst = $1 ORDER BY t.start_year DESC NULLS LAST, t.tconst LIMIT 50",
    of: &[Variable::Person],
};

pub(super) const BEST: Step = Step {
    sql: "SELECT t.primary_title, r.average_rating, r.num_votes \
          FROM title_basics t JOIN title_ratings r USING (tconst) \
          WHERE t.genres @> ARRAY[$1::text] AND t.start_year = $2 \
          ORDER BY r.average_rating DESC, r.num_votes DESC, t.tconst LIMIT 10",
    of: &[Variable::Genre, Variable::Year],
};

/// Byte by byte, as an index with `text_pattern_ops` has them; `LIKE $1` would not use it in a generic plan.
pub(super) const PREFIX: Step = Step {
    sql: "SELECT tconst, primary_title FROM title_basics \
          WHERE primary_title ~>=~ $1 AND primary_title ~<~ $2 ORDER BY primary_title USING ~<~, tconst LIMIT 10",
    of: &[Variable::From, Variable::Beyond],
};
