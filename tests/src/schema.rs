//! Checks a document against a schema in `docs/schema/`: the part of JSON Schema that those use.

use std::path::Path;

use serde_json::{Map, Value};

/// Panics with the place where `document` departs from the schema that it names.
#[track_caller]
pub fn assert_matches_its_schema(document: &Value) {
    let name = document["schema"].as_str().expect("a document names its schema");
    let file = name.strip_prefix("uniprof.").and_then(|name| name.split('/').next()).expect("uniprof.NAME/1");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schema/{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    assert_eq!(schema["$id"], name);
    if let Err(fault) = check(&schema, document, "$") {
        panic!("{name}: {fault}");
    }
}

fn check(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let Value::Object(rules) = schema else { return Ok(()) };
    for (rule, wanted) in rules {
        let fine = match rule.as_str() {
            "type" => has_type(value, wanted.as_str().unwrap_or_default()),
            "const" => value == wanted,
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap_or(f64::MIN)),
            "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap_or(f64::MAX)),
            "anyOf" => {
                wanted.as_array().is_some_and(|all| all.iter().any(|one| check(one, value, place).is_ok()))
            }
            "required" => wanted.as_array().is_some_and(|all| {
                all.iter().all(|key| value.get(key.as_str().unwrap_or_default()).is_some())
            }),
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.try_for_each(|(index, item)| check(wanted, item, &format!("{place}[{index}]")))?;
                true
            }
            "properties" => {
                properties(rules, value, place)?;
                true
            }
            _ => true,
        };
        if !fine {
            return Err(format!("{place} breaks {rule}: {wanted}, it is {value}"));
        }
    }
    if !rules.contains_key("properties")
        && let (Some(rest), Value::Object(members)) = (rules.get("additionalProperties"), value)
    {
        for (key, member) in members {
            check(rest, member, &format!("{place}.{key}"))?;
        }
    }
    Ok(())
}

/// A member that the schema does not know is a fault: the documents are ours.
fn properties(rules: &Map<String, Value>, value: &Value, place: &str) -> Result<(), String> {
    for (key, member) in value.as_object().into_iter().flatten() {
        match rules["properties"].get(key) {
            Some(schema) => check(schema, member, &format!("{place}.{key}"))?,
            None => return Err(format!("{place}.{key} is not in the schema")),
        }
    }
    Ok(())
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}
