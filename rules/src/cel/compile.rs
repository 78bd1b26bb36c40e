//! From text to what is evaluated: names resolved, functions found, bounds kept.

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators,
};
use cel::parser::Parser;
use regex::{Regex, RegexBuilder};

use super::functions::Function;
use super::value::Val;
use super::{MAX_CEL_BYTES, MAX_CEL_NESTING, MAX_CEL_NODES, MAX_DEPTH, Program};
use crate::Looks;

/// Several times what its deepest recursion takes.
const PARSER_STACK: usize = 64 * 1_024 * 1_024;
/// Bytes of a compiled pattern.
const MAX_REGEX_BYTES: usize = 256 * 1_024;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Literal(Val<'static>),
    Root(Root),
    /// A variable of a comprehension, by its place from the outermost one.
    Local(usize),
    Select(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Regex),
    NotStrictlyFalse(Box<Node>),
    Fold(Box<Fold>),
}

/// What there is of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Body,
    Headers,
    Query,
    Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

/// A comprehension: what macros stand for.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) start: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

pub(super) fn program(text: &str) -> Result<Program, String> {
    if text.trim().is_empty() {
        return Err("is empty; give an expression".to_owned());
    }
    if text.len() > MAX_CEL_BYTES {
        let length = text.len();
        return Err(format!("has {length} bytes; {MAX_CEL_BYTES} are possible"));
    }
    // The parser takes several function calls, with large frames, for each level.
    stacker::grow(PARSER_STACK, || parse(text))
}

fn parse(text: &str) -> Result<Program, String> {
    let parser = Parser::new().max_recursion_depth(MAX_DEPTH as u16);
    let parsed = parser.parse(text).map_err(|errors| {
        let first = errors.errors.first().map(|error| {
            let message: String = error.msg.chars().take(200).collect();
            format!(
                "line {}, column {}: {message}",
                error.pos.0,
                error.pos.1 + 1
            )
        });
        let first = first.unwrap_or_else(|| "it cannot be read".to_owned());
        format!("is no expression: {first}")
    })?;
    let mut compiler = Compiler::default();
    let root = compiler.node(&parsed, 0)?;
    Ok(Program {
        root,
        looks: compiler.looks,
    })
}

#[derive(Default)]
struct Compiler {
    nodes: usize,
    nesting: usize,
    looks: Looks,
    /// Names of comprehensions, the outermost first.
    scope: Vec<String>,
}

impl Compiler {
    fn node(&mut self, expression: &IdedExpr, depth: usize) -> Result<Node, String> {
        self.nodes += 1;
        if self.nodes > MAX_CEL_NODES {
            return Err(format!("has more than {MAX_CEL_NODES} parts"));
        }
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH} levels"));
        }
        let depth = depth + 1;
        match &expression.expr {
            Expr::Literal(literal) => Ok(Node::Literal(constant(literal))),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select, depth),
            Expr::Call(call) => self.call(call, depth),
            Expr::List(list) if list.optional_indices.is_empty() => {
                let items = list.elements.iter();
                let items = items.map(|item| self.node(item, depth));
                Ok(Node::List(items.collect::<Result<_, _>>()?))
            }
            Expr::Map(map) => {
                let mut pairs = Vec::new();
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(pair) if !pair.optional => {
                            let key = self.node(&pair.key, depth)?;
                            pairs.push((key, self.node(&pair.value, depth)?));
                        }
                        _ => return Err("has an entry that is not possible".to_owned()),
                    }
                }
                Ok(Node::Map(pairs))
            }
            Expr::Comprehension(fold) => self.fold(fold, depth),
            Expr::List(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err("has a part that is not possible: messages and optional values".to_owned())
            }
        }
    }

    fn name(&mut self, name: &str) -> Result<Node, String> {
        if let Some(at) = self.scope.iter().rposition(|known| known == name) {
            return Ok(Node::Local(at));
        }
        let root = match name {
            "body" => Root::Body,
            "headers" => Root::Headers,
            "query" => Root::Query,
            "path" => Root::Path,
            _ => {
                let shown: String = name.chars().take(64).collect();
                return Err(format!(
                    "does not know `{shown}`; there are body, headers, query and path"
                ));
            }
        };
        match root {
            Root::Body => self.looks.body = true,
            Root::Headers => self.looks.headers = true,
            Root::Query => self.looks.query = true,
            Root::Path => {}
        }
        Ok(Node::Root(root))
    }

    fn select(&mut self, select: &SelectExpr, depth: usize) -> Result<Node, String> {
        let of = Box::new(self.node(&select.operand, depth)?);
        let field = select.field.clone();
        Ok(if select.test {
            Node::Has(of, field)
        } else {
            Node::Select(of, field)
        })
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<Node, String> {
        let name = call.func_name.as_str();
        // A name space and not a value.
        if let Some(target) = &call.target
            && matches!(&target.expr, Expr::Ident(space) if space == "base64")
        {
            let function = match (name, call.args.len()) {
                ("encode", 1) => Function::Base64Encode,
                ("decode", 1) => Function::Base64Decode,
                _ => {
                    return Err(
                        "has no such function; there are base64.encode and base64.decode"
                            .to_owned(),
                    );
                }
            };
            return Ok(Node::Call(function, vec![self.node(&call.args[0], depth)?]));
        }
        if name == "matches" {
            return self.matches(call, depth);
        }
        let mut given = Vec::new();
        for argument in call.target.as_deref().into_iter().chain(&call.args) {
            given.push(self.node(argument, depth)?);
        }
        let count = given.len();
        let mut given = given.into_iter().map(Box::new);
        let mut next = || {
            let missing = "has an operator without a value".to_owned();
            given.next().ok_or(missing)
        };
        let binary = match name {
            operators::ADD => Binary::Add,
            operators::SUBSTRACT => Binary::Subtract,
            operators::MULTIPLY => Binary::Multiply,
            operators::DIVIDE => Binary::Divide,
            operators::MODULO => Binary::Modulo,
            operators::EQUALS => Binary::Equal,
            operators::NOT_EQUALS => Binary::Unequal,
            operators::LESS => Binary::Less,
            operators::LESS_EQUALS => Binary::LessOrEqual,
            operators::GREATER => Binary::Greater,
            operators::GREATER_EQUALS => Binary::GreaterOrEqual,
            operators::IN => Binary::In,
            operators::LOGICAL_AND => return Ok(Node::And(next()?, next()?)),
            operators::LOGICAL_OR => return Ok(Node::Or(next()?, next()?)),
            operators::LOGICAL_NOT => return Ok(Node::Not(next()?)),
            operators::NEGATE => return Ok(Node::Negate(next()?)),
            operators::CONDITIONAL => return Ok(Node::If(next()?, next()?, next()?)),
            operators::INDEX => return Ok(Node::Index(next()?, next()?)),
            operators::NOT_STRICTLY_FALSE => return Ok(Node::NotStrictlyFalse(next()?)),
            _ => {
                let function = Function::find(name, count)?;
                return Ok(Node::Call(function, given.map(|one| *one).collect()));
            }
        };
        Ok(Node::Binary(binary, next()?, next()?))
    }

    /// A pattern that is known now, so that it is compiled once and cannot be anything else.
    fn matches(&mut self, call: &CallExpr, depth: usize) -> Result<Node, String> {
        let mut given = call.target.as_deref().into_iter().chain(&call.args);
        let (Some(text), Some(pattern), None) = (given.next(), given.next(), given.next()) else {
            return Err("`matches` takes a text and a pattern".to_owned());
        };
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            return Err("`matches` takes a pattern that is written out, not a value".to_owned());
        };
        let regex = RegexBuilder::new(pattern.inner())
            .size_limit(MAX_REGEX_BYTES)
            .dfa_size_limit(MAX_REGEX_BYTES)
            .build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "has a pattern that is too large".to_owned(),
            _ => "has a pattern that is no regular expression".to_owned(),
        })?;
        Ok(Node::Matches(Box::new(self.node(text, depth)?), regex))
    }

    fn fold(&mut self, fold: &ComprehensionExpr, depth: usize) -> Result<Node, String> {
        if fold.iter_var2.is_some() {
            return Err("has a comprehension with two variables, which is not possible".to_owned());
        }
        // One after the other, and not inside each other.
        let range = self.node(&fold.iter_range, depth)?;
        let start = self.node(&fold.accu_init, depth)?;
        self.nesting += 1;
        if self.nesting > MAX_CEL_NESTING {
            return Err(format!(
                "has more than {MAX_CEL_NESTING} comprehensions inside each other"
            ));
        }
        self.scope.push(fold.accu_var.clone());
        self.scope.push(fold.iter_var.clone());
        let condition = self.node(&fold.loop_cond, depth)?;
        let step = self.node(&fold.loop_step, depth)?;
        self.scope.pop();
        let result = self.node(&fold.result, depth)?;
        self.scope.pop();
        self.nesting -= 1;
        Ok(Node::Fold(Box::new(Fold {
            range,
            start,
            condition,
            step,
            result,
        })))
    }
}

fn constant(literal: &LiteralValue) -> Val<'static> {
    match literal {
        LiteralValue::Null => Val::Null,
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::UInt(value) => Val::Uint(*value.inner()),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::String(value) => Val::text(value.inner().to_owned()),
        LiteralValue::Bytes(value) => Val::Bytes(value.inner().to_vec().into()),
    }
}
