//! Reading a filter: its operators, and the bounds on how much it may ask.

use serde_json::{Map, Value};

use super::{Condition, Filter, Operand, Test, split_path};
use crate::error::{Code, Failure};
use crate::regex_translate;

/// How deep `$and` and `$or` may nest.
const MOST_DEPTH: usize = 8;
/// Conditions in a whole filter: each costs a little on every row.
const MOST_CONDITIONS: usize = 100;
/// Values in a whole filter, those of `$in` and its like included.
const MOST_VALUES: usize = 2_000;
/// Expressions are the dearest of all conditions.
const MOST_REGEXES: usize = 10;

impl Filter {
    /// Reads a `where`; nothing, or white space, has no condition. 4310 with what is wrong for everything else that is no
    /// filter, has an unknown operator or asks too much.
    pub fn parse(json: Option<&str>) -> Result<Self, Failure> {
        let text = json.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("{}");
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("where is not JSON: {error}")))?;
        Reader::default().filter(value, 0)
    }
}

fn wrong(detail: impl Into<Box<str>>) -> Failure {
    Failure::because(Code::ConversationQueryFailed, detail)
}

/// Counts what was read so far.
#[derive(Default)]
struct Reader {
    conditions: usize,
    values: usize,
    regexes: usize,
}

impl Reader {
    fn filter(&mut self, value: Value, depth: usize) -> Result<Filter, Failure> {
        let Value::Object(fields) = value else { return Err(wrong("a where must be a JSON object")) };
        if depth > MOST_DEPTH {
            return Err(wrong(format!("$and and $or nest deeper than {MOST_DEPTH} levels")));
        }
        let mut conditions = Vec::new();
        for (key, value) in fields {
            match key.as_str() {
                "$and" => conditions.push(Condition::And(self.filters(&key, value, depth)?)),
                "$or" => conditions.push(Condition::Or(self.filters(&key, value, depth)?)),
                _ if key.starts_with('$') => return Err(wrong(format!("the operator {key} is not supported here"))),
                _ => self.field(&key, value, &mut conditions)?,
            }
        }
        Ok(Filter { conditions })
    }

    fn filters(&mut self, operator: &str, value: Value, depth: usize) -> Result<Vec<Filter>, Failure> {
        match value {
            Value::Array(all) if !all.is_empty() => all.into_iter().map(|one| self.filter(one, depth + 1)).collect(),
            _ => Err(wrong(format!("{operator} needs an array of at least one where"))),
        }
    }

    /// One key: a value to equal, or an object of operators.
    fn field(&mut self, key: &str, value: Value, conditions: &mut Vec<Condition>) -> Result<(), Failure> {
        let path = split_path(key);
        match value {
            Value::Object(operators) if operators.keys().any(|name| name.starts_with('$')) => {
                let options = options(&operators)?;
                for (operator, operand) in operators {
                    if operator != "$options" {
                        let test = self.test(key, &operator, operand, &options)?;
                        self.push(&path, test, conditions)?;
                    }
                }
                Ok(())
            }
            value => {
                let test = Test::Equal(self.operand(value)?);
                self.push(&path, test, conditions)
            }
        }
    }

    fn push(&mut self, path: &[Box<str>], test: Test, conditions: &mut Vec<Condition>) -> Result<(), Failure> {
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            return Err(wrong(format!("a where has at most {MOST_CONDITIONS} conditions")));
        }
        conditions.push(Condition::Field { path: path.to_vec(), test });
        Ok(())
    }

    fn test(&mut self, key: &str, operator: &str, value: Value, options: &str) -> Result<Test, Failure> {
        Ok(match operator {
            "$eq" => Test::Equal(self.operand(value)?),
            "$ne" => Test::NotEqual(self.operand(value)?),
            "$lt" => Test::Less(self.operand(value)?),
            "$lte" => Test::LessOrEqual(self.operand(value)?),
            "$gt" => Test::Greater(self.operand(value)?),
            "$gte" => Test::GreaterOrEqual(self.operand(value)?),
            "$in" => Test::In(self.operands(key, operator, value)?),
            "$nin" => Test::NotIn(self.operands(key, operator, value)?),
            "$all" => Test::All(self.operands(key, operator, value)?),
            "$exists" => match value {
                Value::Bool(wanted) => Test::Exists(wanted),
                _ => return Err(wrong(format!("$exists of {key} needs true or false"))),
            },
            "$size" => match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
                Some(size) => Test::Size(size),
                None => return Err(wrong(format!("$size of {key} needs a whole number"))),
            },
            "$regex" => {
                let Value::String(pattern) = value else {
                    return Err(wrong(format!("$regex of {key} needs a text")));
                };
                self.regexes += 1;
                if self.regexes > MOST_REGEXES {
                    return Err(wrong(format!("a where has at most {MOST_REGEXES} $regex")));
                }
                Test::Matches(regex_translate::compile(&pattern, options).map_err(wrong)?)
            }
            _ => return Err(wrong(format!("the operator {operator} of {key} is not supported"))),
        })
    }

    fn operand(&mut self, value: Value) -> Result<Operand, Failure> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(wrong(format!("a where has at most {MOST_VALUES} values")));
        }
        Ok(Operand::new(value))
    }

    fn operands(&mut self, key: &str, operator: &str, value: Value) -> Result<Vec<Operand>, Failure> {
        match value {
            Value::Array(values) => values.into_iter().map(|value| self.operand(value)).collect(),
            _ => Err(wrong(format!("{operator} of {key} needs an array"))),
        }
    }
}

/// The `$options` beside a `$regex`.
fn options(operators: &Map<String, Value>) -> Result<String, Failure> {
    match (operators.get("$options"), operators.contains_key("$regex")) {
        (None, _) => Ok(String::new()),
        (Some(Value::String(options)), true) => Ok(options.clone()),
        (Some(_), true) => Err(wrong("$options needs a text")),
        (Some(_), false) => Err(wrong("$options without $regex")),
    }
}
