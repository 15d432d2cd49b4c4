//! Tokens to tree. Nesting and size are bounded, so that a tree can be walked by recursion.

use super::{
    ConditionSyntaxError,
    expression::{Expression, Operand, Variable},
    glob::Glob,
    token::{Placed, Token, Tokens},
};
use crate::pipeline::{quote::quote, suggest};

/// Deepest nesting of parentheses and `!`.
const DEPTH_MAX: usize = 32;
/// Most comparisons and calls in one condition.
const TERMS_MAX: usize = 100;

type Parsed<T> = Result<T, ConditionSyntaxError>;

/// Reads a whole condition.
pub(super) fn parse(source: &str) -> Parsed<Expression> {
    let mut parser = Parser {
        tokens: Tokens::read(source)?,
        depth: 0,
        terms: 0,
    };
    let expression = parser.any()?;
    let Placed { token, column } = parser.tokens.take();
    if matches!(token, Token::Equal | Token::NotEqual) {
        return error(column, "a comparison cannot be compared again");
    }
    if token != Token::End {
        return expected(column, "&&, || or the end", &token);
    }
    Ok(expression)
}

struct Parser {
    tokens: Tokens,
    depth: usize,
    terms: usize,
}

impl Parser {
    fn any(&mut self) -> Parsed<Expression> {
        let mut parts = Vec::new();
        loop {
            let part = self.all()?;
            if let Expression::Any(inner) = part {
                parts.extend(inner);
            } else {
                parts.push(part);
            }
            if !self.tokens.skip(&Token::Or) {
                return Ok(one_or(parts, Expression::Any));
            }
        }
    }

    fn all(&mut self) -> Parsed<Expression> {
        let mut parts = Vec::new();
        loop {
            let part = self.not()?;
            if let Expression::All(inner) = part {
                parts.extend(inner);
            } else {
                parts.push(part);
            }
            if !self.tokens.skip(&Token::And) {
                return Ok(one_or(parts, Expression::All));
            }
        }
    }

    fn not(&mut self) -> Parsed<Expression> {
        let sign = self.tokens.column();
        if !self.tokens.skip(&Token::Not) {
            return self.term();
        }
        let is_group = self.tokens.peek() == &Token::Open;
        let inner = self.deeper(sign, Self::not)?;
        if matches!(inner, Expression::Compare { .. }) && !is_group {
            let hint = "put parentheses around the comparison that ! turns around";
            return error(sign, hint);
        }
        Ok(Expression::Not(Box::new(inner)))
    }

    fn term(&mut self) -> Parsed<Expression> {
        let Placed { token, column } = self.tokens.take();
        if token == Token::Open {
            return self.deeper(column, |parser| {
                let inner = parser.any()?;
                parser.require(&Token::Close, "&&, || or )")?;
                Ok(inner)
            });
        }
        self.count_term(column)?;
        if let Token::Word(name) = &token
            && self.tokens.skip(&Token::Open)
        {
            return self.call(name, column);
        }
        let left = operand(&token, column, "a comparison such as branch == \"main\"")?;
        self.compare(left, column)
    }

    fn call(&mut self, name: &str, column: usize) -> Parsed<Expression> {
        let call = match name {
            "changed" => Expression::Changed(self.path_glob()?),
            "matches" => {
                let variable = self.variable()?;
                self.require(&Token::Comma, "a comma and a glob")?;
                Expression::Matches(variable, self.glob()?)
            }
            other => {
                let hint = suggest::hint(other, &["changed", "matches"]);
                return error(column, format!("unknown function {}; {hint}", quote(other)));
            }
        };
        self.require(&Token::Close, ")")?;
        Ok(call)
    }

    fn compare(&mut self, left: Operand, column: usize) -> Parsed<Expression> {
        let sign = self.tokens.take();
        let is_equal = sign.token == Token::Equal;
        if !is_equal && sign.token != Token::NotEqual {
            return expected(sign.column, "== or !=", &sign.token);
        }
        let right = self.tokens.take();
        let right = operand(&right.token, right.column, "a text in quotes or a variable")?;
        if matches!((&left, &right), (Operand::Text(_), Operand::Text(_))) {
            let names = variable_names().join(", ");
            return error(column, format!("one side must be a variable: {names}"));
        }
        Ok(Expression::Compare {
            left,
            is_equal,
            right,
        })
    }

    fn variable(&mut self) -> Parsed<Variable> {
        let Placed { token, column } = self.tokens.take();
        let Token::Word(name) = &token else {
            return expected(column, "a variable", &token);
        };
        variable(name, column)
    }

    fn path_glob(&mut self) -> Parsed<Glob> {
        let column = self.tokens.column();
        let glob = self.glob()?;
        if glob.as_str().starts_with('/') || glob.as_str().starts_with("./") {
            let message = "changed paths begin with a name: leave out the leading / or ./";
            return error(column, message);
        }
        Ok(glob)
    }

    fn glob(&mut self) -> Parsed<Glob> {
        let Placed { token, column } = self.tokens.take();
        let Token::Text(text) = &token else {
            return expected(column, "a glob in quotes such as \"src/**\"", &token);
        };
        if text.is_empty() {
            return error(column, "the glob is empty");
        }
        Glob::new(text).or_else(|e| error(column, format!("not a glob: {}", e.kind())))
    }

    fn count_term(&mut self, column: usize) -> Parsed<()> {
        if self.terms == TERMS_MAX {
            return error(
                column,
                format!("more than {TERMS_MAX} comparisons and calls"),
            );
        }
        self.terms += 1;
        Ok(())
    }

    fn deeper<T>(&mut self, at: usize, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return error(at, format!("nested more than {DEPTH_MAX} levels deep"));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn require(&mut self, token: &Token, what: &str) -> Parsed<()> {
        if self.tokens.skip(token) {
            return Ok(());
        }
        let found = self.tokens.take();
        expected(found.column, what, &found.token)
    }
}

fn operand(token: &Token, column: usize, what: &str) -> Parsed<Operand> {
    if let Token::Text(text) = token {
        return Ok(Operand::Text(text.clone()));
    }
    let Token::Word(name) = token else {
        return expected(column, what, token);
    };
    variable(name, column).map(Operand::Variable)
}

fn variable(name: &str, column: usize) -> Parsed<Variable> {
    let mut variables = Variable::ALL.into_iter();
    if let Some(variable) = variables.find(|variable| variable.name() == name) {
        return Ok(variable);
    }
    let hint = suggest::hint(name, &variable_names());
    error(column, format!("unknown variable {}; {hint}", quote(name)))
}

fn variable_names() -> [&'static str; 4] {
    Variable::ALL.map(Variable::name)
}

fn one_or(
    mut parts: Vec<Expression>,
    several: impl FnOnce(Vec<Expression>) -> Expression,
) -> Expression {
    if parts.len() == 1 {
        parts.swap_remove(0)
    } else {
        several(parts)
    }
}

fn expected<T>(column: usize, what: &str, found: &Token) -> Parsed<T> {
    error(
        column,
        format!("expected {what}, found {}", found.describe()),
    )
}

fn error<T>(column: usize, message: impl Into<String>) -> Parsed<T> {
    Err(ConditionSyntaxError {
        column,
        message: message.into(),
    })
}
