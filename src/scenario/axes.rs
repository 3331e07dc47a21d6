//! Axes: what their levels set, and which combinations of levels there are.

use super::Design;
use super::check::{Finding, Part};
use super::error::Located;
use super::path::{Patch, Segment, path_at, split};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More combinations than anybody can mean.
const MOST_COMBINATIONS: usize = 1000;

/// An axis in the tree: its name and, by name, what its levels set.
pub(super) struct AxisTree<'t> {
    pub name: String,
    pub levels: Vec<(String, Vec<Patch<'t>>)>,
}

/// An argument that says nothing, because every level of an axis sets the same.
pub(super) fn overruled(set: &Patch<'_>, axes: &[AxisTree<'_>]) -> Option<Located> {
    let sets_it = |(_, patches): &(String, Vec<Patch<'_>>)| patches.iter().any(|patch| patch.covers(set));
    let axis = axes.iter().find(|axis| !axis.levels.is_empty() && axis.levels.iter().all(sets_it))?;
    Some(Located {
        span: set.path.first()?.span.start..set.path.last()?.span.end,
        path: Some(set.name()),
        message: format!("every level of the axis `{}` sets `{}`, so this changes nothing", axis.name, set.name()),
        hint: Some(format!("change the levels, or remove one: `--set vary.{}.{}=absent`", axis.name, axis.levels[0].0)),
    })
}

/// What cannot stand in a level, because it is about the whole run and not what a trial is made of.
const OF_THE_RUN: [&str; 9] = ["name", "question", "about", "answer", "trials", "seed", "vary", "design", "claim"];

/// The axes of a scenario.
pub(super) fn axes<'t>(tree: &DeTable<'t>, found: &mut Vec<Located>) -> Vec<AxisTree<'t>> {
    let Some(DeValue::Table(axes)) = tree.get("vary").map(Spanned::get_ref) else { return Vec::new() };
    let tables = axes.iter().filter_map(|(name, axis)| Some((name, axis.get_ref().as_table()?)));
    tables
        .map(|(name, levels)| AxisTree {
            name: name.get_ref().to_string(),
            levels: levels
                .iter()
                .filter_map(|(level, patches)| Some((level.get_ref().to_string(), patches.get_ref().as_table()?)))
                .map(|(level, patches)| (level, level_patches(tree, patches, found)))
                .collect(),
        })
        .collect()
}

fn level_patches<'t>(tree: &DeTable<'t>, level: &DeTable<'t>, found: &mut Vec<Located>) -> Vec<Patch<'t>> {
    let mut patches = Vec::new();
    for (key, value) in level {
        let wrong = |message: String, hint: &str| Located {
            span: key.span(),
            path: path_at(tree, &key.span()),
            message,
            hint: Some(hint.to_owned()),
        };
        // Places within a quoted key are not known, so each name of the path stands for the whole key.
        let path = split(key.get_ref(), 0)
            .map(|path| path.into_iter().map(|segment| Segment { span: key.span(), ..segment }).collect::<Vec<_>>());
        match path {
            None => {
                found.push(wrong(format!("`{key}` is no path"), "write it as after `--set`, such as \"node.s.count\""))
            }
            Some(path) if OF_THE_RUN.contains(&path[0].name.as_str()) => found.push(wrong(
                format!("a level cannot set `{}`", path[0].name),
                "it goes for the whole run; a level sets what one variant of it does",
            )),
            Some(path) => patches.extend(Patch::leaves(path, value.clone())),
        }
    }
    patches
}

/// All combinations of levels but the skipped, as indexes of axis and level.
pub(super) fn combine(axes: &[AxisTree<'_>], design: &Design, judged: &mut Vec<Finding>) -> Vec<Vec<(usize, usize)>> {
    let axes: Vec<_> = axes.iter().enumerate().filter(|(_, axis)| !axis.levels.is_empty()).collect();
    let count = axes.iter().try_fold(1usize, |product, (_, axis)| product.checked_mul(axis.levels.len()));
    if count.is_none_or(|count| count > MOST_COMBINATIONS) {
        let message = format!("the axes have more than {MOST_COMBINATIONS} combinations");
        judged.push(Finding::new(&["vary"], Part::Key, message, Some("leave out levels".into())));
        return Vec::new();
    }
    conflicts(&axes, judged);
    let mut combinations: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
    for (index, axis) in &axes {
        let longer = combinations
            .iter()
            .flat_map(|levels| (0..axis.levels.len()).map(|level| [levels.as_slice(), &[(*index, level)]].concat()));
        combinations = longer.collect();
    }
    let skipped = |levels: &Vec<(usize, usize)>| {
        design.skip.iter().any(|skip| {
            !skip.is_empty()
                && skip.iter().all(|(axis, level)| {
                    axes.iter().any(|(i, a)| {
                        a.name == *axis && levels.iter().any(|(of, l)| of == i && a.levels[*l].0 == *level)
                    })
                })
        })
    };
    combinations.retain(|levels| !skipped(levels));
    if combinations.is_empty() {
        let hint = Some("leave at least one combination to run".into());
        judged.push(Finding::new(&["design", "skip"], Part::Key, "every combination is skipped".into(), hint));
    }
    combinations
}

/// Two axes that set the same thing: the later would silently win.
fn conflicts(axes: &[(usize, &AxisTree<'_>)], judged: &mut Vec<Finding>) {
    for (i, (_, later)) in axes.iter().enumerate() {
        for (level, patch) in later.levels.iter().flat_map(|(level, patches)| patches.iter().map(move |p| (level, p))) {
            let earlier = axes[..i].iter().find(|(_, axis)| {
                let others = axis.levels.iter().flat_map(|(_, patches)| patches);
                others.into_iter().any(|other| other.covers(patch) || patch.covers(other))
            });
            if let Some((_, earlier)) = earlier {
                let message = format!("`{}` is set by the axis `{}` too", patch.name(), earlier.name);
                let hint = Some("let each axis set something of its own".into());
                judged.push(Finding::new(&["vary", &later.name, level], Part::Key, message, hint));
            }
        }
    }
}
