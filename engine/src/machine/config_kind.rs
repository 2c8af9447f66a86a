//! What the value of a configuration key may be: its type, its range, and both in words.
//!
//! Always: a value is judged without spaces around it, as it is used.
//! Leaves to others: which keys there are (`topic_config`, the node's own table).

/// Type and range of a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// A whole number between two others, both included.
    Int {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A level of compression: -1 for the codec's own, or a whole number from 1 to this one.
    Level(i64),
    /// A fraction, at least this and at most that.
    Double(f64, f64),
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas; none where it is empty.
    ChoiceList(&'static [&'static str]),
    /// `*`, or `PARTITION:NODE`, separated by commas; may be empty.
    ThrottledReplicas,
    /// A list of words of a form of their own; the error is the form in words, or what is wrong.
    Form {
        /// The form in words.
        range: &'static str,
        /// Judges a text.
        check: fn(&str) -> Result<(), String>,
    },
}

/// The type as clients of DescribeConfigs are told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireType {
    /// 1
    Boolean = 1,
    /// 2
    String = 2,
    /// 3
    Int = 3,
    /// 5
    Long = 5,
    /// 6
    Double = 6,
    /// 7
    List = 7,
}

impl Kind {
    /// Whether a value fits; the error is the range in words.
    pub fn check(self, value: &str) -> Result<(), String> {
        let value = value.trim();
        let fits = match self {
            Kind::Text => true,
            Kind::Bool => ["true", "false"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word)),
            Kind::Int { min, max } => value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Kind::Level(max) => value
                .parse::<i64>()
                .is_ok_and(|level| level == -1 || (1..=max).contains(&level)),
            Kind::Double(min, max) => value
                .parse::<f64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Kind::Choice(words) => words.contains(&value),
            Kind::ChoiceList(words) => {
                value.is_empty() || value.split(',').all(|word| words.contains(&word.trim()))
            }
            Kind::ThrottledReplicas => {
                value.is_empty() || value == "*" || value.split(',').all(is_pair)
            }
            Kind::Form { check, .. } => return check(value),
        };
        if fits { Ok(()) } else { Err(self.range()) }
    }

    /// What it takes, in words.
    pub fn range(self) -> String {
        match self {
            Kind::Text => "any text".into(),
            Kind::Bool => "true or false".into(),
            Kind::Int { min, max } if max == i64::MAX => format!("a whole number from {min}"),
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Level(max) => format!("-1 or a whole number from 1 to {max}"),
            Kind::Double(min, max) => format!("a number from {min} to {max}"),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::ChoiceList(words) => format!("a comma-separated list of {}", words.join(", ")),
            Kind::ThrottledReplicas => "* or a comma-separated list of PARTITION:NODE".into(),
            Kind::Form { range, .. } => range.into(),
        }
    }

    /// Whether values are appended to and taken from.
    pub fn is_list(self) -> bool {
        self.wire_type() == WireType::List
    }

    /// The type as clients are told it.
    pub fn wire_type(self) -> WireType {
        match self {
            Kind::Bool => WireType::Boolean,
            Kind::Int { max, .. } if max <= i64::from(i32::MAX) => WireType::Int,
            Kind::Level(_) => WireType::Int,
            Kind::Int { .. } => WireType::Long,
            Kind::Double(..) => WireType::Double,
            Kind::Text | Kind::Choice(_) => WireType::String,
            Kind::ChoiceList(_) | Kind::ThrottledReplicas | Kind::Form { .. } => WireType::List,
        }
    }
}

fn is_pair(text: &str) -> bool {
    let number = |part: &str| part.trim().parse::<u32>().is_ok();
    text.split_once(':')
        .is_some_and(|(partition, node)| number(partition) && number(node))
}
