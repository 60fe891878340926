//! `--fail-if FUNCTION>+5%`: what must not happen to a function.

use std::str::FromStr;

use uniprof_flamegraph::diff::{Change, DiffOptions, FunctionChange, Interval};

/// A rule as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    text: String,
    /// What was sampled in the function itself, not below it.
    own: bool,
    pattern: String,
    above: bool,
    limit: Limit,
}

/// How far a change may go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// Of the share before: 0.05 is +5 %.
    Relative(f64),
    /// Of all: 0.05 is 5 percentage points.
    Points(f64),
}

/// A function for which a rule is true or false.
#[derive(Debug)]
pub(super) struct Finding<'a> {
    pub(super) rule: &'a Rule,
    pub(super) function: &'a FunctionChange,
    /// The change in the rule's own unit, at the level that all rules together call for.
    pub(super) change: Interval,
    /// Whether the change is beyond the limit, and whether that is sure.
    pub(super) beyond: bool,
    pub(super) sure: bool,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // From the back: names of functions have angle brackets, too.
        let at = text.rfind(['<', '>']).ok_or("there is no `>` or `<` in it; write FUNCTION>+5%")?;
        let (name, number) = (text[..at].trim(), text[at + 1..].trim());
        let (own, pattern) = match name.split_once(':') {
            Some(("self", rest)) if !rest.starts_with(':') => (true, rest),
            Some(("total", rest)) if !rest.starts_with(':') => (false, rest),
            _ => (false, name),
        };
        if pattern.is_empty() {
            return Err("it names no function; write FUNCTION>+5%, or *>+5% for any".into());
        }
        let above = text.as_bytes()[at] == b'>';
        Ok(Self { text: text.into(), own, pattern: pattern.into(), above, limit: limit(number)? })
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    let how = "write +5% for a change by 5 % of what it was, or +5pp for 5 percentage points of all";
    if !text.starts_with(['+', '-']) {
        return Err(format!("`{text}` has no sign; {how}"));
    }
    let (number, unit): (&str, fn(f64) -> Limit) = match (text.strip_suffix("pp"), text.strip_suffix('%')) {
        (Some(number), _) => (number, Limit::Points),
        (_, Some(number)) => (number, Limit::Relative),
        _ => return Err(format!("`{text}` has no unit; {how}")),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("`{number}` is no number; {how}"))?;
    if !number.is_finite() {
        return Err(format!("`{number}` is no number; {how}"));
    }
    Ok(unit(number / 100.0))
}

impl Rule {
    /// The rule as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The function, or the pattern.
    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    fn is_pattern(&self) -> bool {
        self.pattern.contains(['*', '?'])
    }

    /// The functions that it is about: the one of that name, else those of which it is the end from a `::` on, else those
    /// that it matches as a pattern.
    pub(super) fn functions<'a>(&self, functions: &'a [FunctionChange]) -> Vec<&'a FunctionChange> {
        let all = |matches: &dyn Fn(&str) -> bool| -> Vec<&'a FunctionChange> {
            functions.iter().filter(|function| matches(&function.name)).collect()
        };
        let exact = all(&|name| name == self.pattern);
        if !exact.is_empty() {
            return exact;
        }
        let end = format!("::{}", self.pattern);
        let ends = all(&|name| name.ends_with(&end));
        if !ends.is_empty() || !self.is_pattern() {
            return ends;
        }
        all(&|name| matches(self.pattern.as_bytes(), name.as_bytes()))
    }

    fn change<'a>(&self, function: &'a FunctionChange) -> &'a Change {
        if self.own { &function.own } else { &function.total }
    }

    fn apply<'a>(&'a self, function: &'a FunctionChange, alpha: f64) -> Option<Finding<'a>> {
        let evidence = self.change(function).evidence;
        let (change, limit) = match self.limit {
            Limit::Points(limit) => (evidence.difference(alpha), limit),
            Limit::Relative(limit) => {
                let ratio = evidence.ratio(alpha)?;
                let [estimate, low, high] = [ratio.estimate, ratio.low, ratio.high].map(|bound| bound - 1.0);
                (Interval { estimate, low, high }, limit)
            }
        };
        let (beyond, sure) = if self.above {
            (change.estimate > limit, change.low > limit)
        } else {
            (change.estimate < limit, change.high < limit)
        };
        Some(Finding { rule: self, function, change, beyond, sure })
    }
}

impl Finding<'_> {
    /// The share before and after.
    pub(super) fn shares(&self) -> [f64; 2] {
        let evidence = self.rule.change(self.function).evidence;
        [evidence.before.value, evidence.after.value]
    }

    /// What the change is counted in.
    pub(super) fn unit(&self) -> &'static str {
        match self.rule.limit {
            Limit::Relative(_) => "%",
            Limit::Points(_) => "pp",
        }
    }

    /// What happened to the function, in a sentence.
    pub(super) fn sentence(&self) -> String {
        let [before, after] = self.shares().map(|share| share * 100.0);
        let unit = self.unit().replace('%', " %").replace("pp", " points");
        let number = |value: f64| match value {
            f64::INFINITY => "any".to_owned(),
            value => format!("{:+.1}", value * 100.0),
        };
        let Interval { estimate, low, high } = self.change;
        let changed = match estimate {
            f64::INFINITY => "is new".to_owned(),
            estimate => format!("changed by {}{unit}", number(estimate)),
        };
        format!(
            "{} {changed}, from {before:.2} % to {after:.2} %, surely between {} and {}{unit}",
            self.function.name,
            number(low),
            number(high)
        )
    }
}

/// Applies all rules. The level is divided among all questions asked, so that all answers together are as sure as asked for.
/// A pattern asks only about functions whose share could have changed by the least change that matters.
pub(super) fn apply<'a>(
    rules: &'a [Rule],
    functions: &'a [FunctionChange],
    options: &DiffOptions,
) -> Vec<Finding<'a>> {
    let questions: Vec<(&Rule, &FunctionChange)> = rules
        .iter()
        .flat_map(|rule| rule.functions(functions).into_iter().map(move |function| (rule, function)))
        .filter(|(rule, function)| {
            !rule.is_pattern() || rule.change(function).could_matter(options.min_change)
        })
        .collect();
    let alpha = (1.0 - options.confidence) / questions.len().max(1) as f64;
    let mut findings: Vec<Finding<'_>> = questions
        .into_iter()
        .filter_map(|(rule, function)| {
            let finding = rule.apply(function, alpha)?;
            let [before, after] = finding.shares();
            let matters = !rule.is_pattern() || (after - before).abs() >= options.min_change;
            Some(Finding { beyond: finding.beyond && matters, sure: finding.sure && matters, ..finding })
        })
        .collect();
    findings.sort_by_key(|finding| (!finding.sure, !finding.beyond));
    findings
}

/// `*` stands for any text, `?` for any one byte. Linear in the name for each `*`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, from) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The names that come closest to one that is in neither profile.
pub(super) fn close_names<'a>(wanted: &str, functions: &'a [FunctionChange]) -> Vec<&'a str> {
    let last = |name: &str| name.rsplit("::").next().unwrap_or_default().to_lowercase();
    let wanted = last(wanted.trim_matches(['*', '?']));
    let mut ranked: Vec<(usize, &str)> = functions
        .iter()
        .filter(|function| !function.unknown)
        .map(|function| {
            let name = last(&function.name);
            let holds = !wanted.is_empty() && (name.contains(&wanted) || wanted.contains(&name));
            (if holds { 0 } else { distance(&wanted, &name) }, function.name.as_str())
        })
        .collect();
    ranked.sort();
    ranked.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's edit distance, over the first bytes of long names.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (&a.as_bytes()[..a.len().min(64)], &b.as_bytes()[..b.len().min(64)]);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn rules_are_read_from_the_back() {
        let parsed = rule("self:<kv::Tree<T> as Map>::insert>+5%");
        assert_eq!(
            (parsed.own, parsed.pattern.as_str(), parsed.above),
            (true, "<kv::Tree<T> as Map>::insert", true)
        );
        assert_eq!(parsed.limit, Limit::Relative(0.05));
        assert_eq!(rule("f < -2.5pp").limit, Limit::Points(-0.025));
        assert_eq!(rule("self::f>+1%").pattern, "self::f");
        assert_eq!(rule("total:f>+1%").pattern, "f");
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        for (text, word) in
            [("f", "no `>`"), (">+5%", "no function"), ("f>5%", "no sign"), ("f>+5", "no unit")]
        {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!("f>+x%".parse::<Rule>().unwrap_err().contains("no number"));
        assert!("f>+inf%".parse::<Rule>().unwrap_err().contains("no number"));
    }

    #[test]
    fn stars_and_question_marks_match() {
        for (pattern, name, wanted) in [
            ("*", "anything", true),
            ("*", "", true),
            ("kv::*", "kv::tree::insert", true),
            ("kv::*", "http::kv", false),
            ("*insert*", "kv::insert_all", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaybzb", true),
            ("*a*b", "xaybz", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn edit_distances() {
        for (a, b, wanted) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0)] {
            assert_eq!(distance(a, b), wanted);
        }
    }
}
