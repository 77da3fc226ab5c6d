//! Finds the places where a small mistake can be made, and writes each mistake beside what is right, behind a switch.
//!
//! All is done by inserting text before and after expressions, so that mistakes nest. A mistake must compile whatever
//! the types are: what could not, is not made.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    BinOp, Block, Expr, ExprBinary, ExprIf, ExprMatch, ExprMethodCall, ExprUnary, ExprWhile, ImplItemFn,
    Item, ItemFn, ReturnType, Stmt, UnOp,
};

/// One mistake.
pub struct Mutant {
    pub id: u32,
    pub file: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}:{}: {}", self.id, self.file, self.line, self.what)
    }
}

/// An insertion; what comes first at the same place is decided by `rank`.
struct Edit {
    /// The mistake that it belongs to.
    id: u32,
    at: Range<usize>,
    rank: (u8, i64),
    text: String,
}

struct Finder<'a> {
    file: &'a str,
    text: &'a str,
    edits: Vec<Edit>,
    mutants: &'a mut Vec<Mutant>,
    order: i64,
    /// What is returned from the function around: nothing.
    returns_nothing: bool,
}

/// The text of `file` with all mistakes in it but those that are `without`.
pub fn with_mistakes(
    file: &str,
    text: &str,
    mutants: &mut Vec<Mutant>,
    without: &BTreeSet<u32>,
) -> Result<String, String> {
    let parsed = syn::parse_file(text).map_err(|why| format!("{file}: {why}"))?;
    let mut finder = Finder { file, text, edits: Vec::new(), mutants, order: 0, returns_nothing: false };
    finder.visit_file(&parsed);
    let mut edits: Vec<Edit> = finder.edits.into_iter().filter(|edit| !without.contains(&edit.id)).collect();
    edits.sort_by_key(|edit| (edit.at.start, edit.rank));
    let (mut out, mut at) = (String::new(), 0);
    for edit in edits {
        out.push_str(&text[at..edit.at.start.max(at)]);
        out.push_str(&edit.text);
        at = edit.at.end.max(at);
    }
    out.push_str(&text[at..]);
    Ok(out)
}

fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("test")
            || (attr.path().is_ident("cfg")
                && attr.meta.require_list().is_ok_and(|list| list.tokens.to_string().contains("test")))
    })
}

/// An expression that asks whether a bug is planted is no part of the machine.
fn asks_for_planted(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => matches!(&*call.func, Expr::Path(path) if path.path.is_ident("planted")),
        Expr::Unary(unary) => asks_for_planted(&unary.expr),
        Expr::Paren(paren) => asks_for_planted(&paren.expr),
        _ => false,
    }
}

/// Holds only when a bug is planted.
fn is_planted(cond: &Expr) -> bool {
    match cond {
        Expr::Binary(binary) => {
            matches!(binary.op, BinOp::And(_)) && (is_planted(&binary.left) || is_planted(&binary.right))
        }
        Expr::Paren(paren) => is_planted(&paren.expr),
        Expr::Unary(_) => false,
        other => asks_for_planted(other),
    }
}

/// Has a `let` in it, which cannot stand in parentheses.
fn binds(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => binds(&binary.left) || binds(&binary.right),
        _ => false,
    }
}

/// Jumps out of where it stands, or could give a value.
struct Jumps(bool);

impl Visit<'_> for Jumps {
    fn visit_expr(&mut self, expr: &Expr) {
        self.0 |= matches!(expr, Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) | Expr::Try(_));
        visit::visit_expr(self, expr);
    }
}

fn jumps(expr: &Expr) -> bool {
    let mut jumps = Jumps(false);
    jumps.visit_expr(expr);
    jumps.0
}

impl Finder<'_> {
    fn new_mutant(&mut self, at: Span, what: impl Into<String>) -> u32 {
        let id = u32::try_from(self.mutants.len()).unwrap_or(0) + 1;
        self.mutants.push(Mutant {
            id,
            file: self.file.to_owned(),
            line: at.start().line,
            what: what.into(),
        });
        id
    }

    fn said(&self, span: Span) -> String {
        let text: String = self.text[span.byte_range()].split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() > 70 {
            format!("{}...", text.chars().take(70).collect::<String>())
        } else {
            text
        }
    }

    fn around(&mut self, id: u32, span: Span, before: String, after: String) {
        let range = span.byte_range();
        self.order += 1;
        self.edits.push(Edit { id, at: range.start..range.start, rank: (2, self.order), text: before });
        self.edits.push(Edit { id, at: range.end..range.end, rank: (0, -self.order), text: after });
    }

    fn instead(&mut self, id: u32, at: Range<usize>, text: &str) {
        self.edits.push(Edit { id, at, rank: (1, 0), text: text.to_owned() });
    }

    fn negated(&mut self, expr: &Expr) {
        if asks_for_planted(expr) || binds(expr) {
            return;
        }
        let id = self.new_mutant(expr.span(), format!("condition negated: {}", self.said(expr.span())));
        self.around(id, expr.span(), "((".to_owned(), format!(") ^ crate::mutant::on({id}))"));
    }

    fn clause_dropped(&mut self, expr: &Expr, neutral: &str) {
        if asks_for_planted(expr)
            || binds(expr)
            || matches!(expr, Expr::Binary(b) if matches!(b.op, BinOp::And(_) | BinOp::Or(_)))
        {
            return;
        }
        let id =
            self.new_mutant(expr.span(), format!("clause is always {neutral}: {}", self.said(expr.span())));
        if neutral == "true" {
            self.around(id, expr.span(), "((".to_owned(), format!(") || crate::mutant::on({id}))"));
        } else {
            self.around(id, expr.span(), "((".to_owned(), format!(") && !crate::mutant::on({id}))"));
        }
    }

    fn called(
        &mut self,
        whole: Span,
        left: &Expr,
        right: &Expr,
        name: &str,
        refs: &str,
        count: u32,
        what: &str,
    ) {
        let id = self.new_mutant(whole, format!("{what}: {}", self.said(whole)));
        for more in 1..count {
            self.new_mutant(whole, format!("{what} ({more}): {}", self.said(whole)));
        }
        let (open, close) = if refs.is_empty() { ("", "") } else { ("(", ")") };
        self.around(id, whole, format!("crate::mutant::{name}({id}, {refs}{open}"), format!("{close})"));
        let between = left.span().byte_range().end..right.span().byte_range().start;
        self.instead(id, between, &format!("{close}, {refs}{open}"));
    }

    /// A function as a whole does nothing, or gives the plainest value.
    fn emptied(&mut self, sig: &syn::Signature, block: &Block) {
        if sig.constness.is_some() || block.stmts.is_empty() {
            return;
        }
        let values: &[&str] = match &sig.output {
            ReturnType::Default => &["()"],
            ReturnType::Type(_, ty) => {
                let text: String = self.text[ty.span().byte_range()].split_whitespace().collect();
                match text.as_str() {
                    "bool" => &["true", "false"],
                    "String" | "Duration" | "BTreeSet<UnitName>" => &["Default::default()"],
                    "u8" | "u32" | "u64" => &["0", "1"],
                    "Time" => &["Time::ZERO", "Time::NEVER"],
                    "&'staticstr" | "&str" => &["\"\""],
                    _ if text.starts_with("Option<") => &["None"],
                    _ if text.starts_with("Vec<") => &["Vec::new()"],
                    _ => &[],
                }
            }
        };
        let start = block.brace_token.span.open().byte_range().end;
        for value in values {
            let id = self.new_mutant(sig.span(), format!("fn {} gives {value}", sig.ident));
            self.order += 1;
            let text = format!(" if crate::mutant::on({id}) {{ return {value}; }}");
            self.edits.push(Edit { id, at: start..start, rank: (2, self.order), text });
        }
    }

    fn in_function(&mut self, sig: &syn::Signature, block: &Block) {
        let before = self.returns_nothing;
        self.returns_nothing = matches!(sig.output, ReturnType::Default);
        self.emptied(sig, block);
        self.block(block, self.returns_nothing);
        self.returns_nothing = before;
    }

    /// Statements that can be left out. `is_unit`: nobody wants the value of the block.
    fn block(&mut self, block: &Block, is_unit: bool) {
        let last = block.stmts.len();
        for (at, stmt) in block.stmts.iter().enumerate() {
            match stmt {
                Stmt::Expr(expr, Some(semi)) => {
                    self.statement(expr, semi.span().byte_range().end, at + 1 == last, is_unit)
                }
                Stmt::Expr(expr, None) if at + 1 < last || is_unit => self.unit_expr(expr),
                Stmt::Expr(..) | Stmt::Local(_) | Stmt::Item(_) | Stmt::Macro(_) => {
                    visit::visit_stmt(self, stmt)
                }
            }
        }
    }

    fn statement(&mut self, expr: &Expr, end: usize, is_last: bool, is_unit: bool) {
        if let Expr::Return(back) = expr {
            // Without it, what follows has to give a value; only where nobody wants one can it be left out.
            if is_unit && self.returns_nothing {
                let id = self.new_mutant(expr.span(), format!("left out: {}", self.said(expr.span())));
                let start = expr.span().byte_range().start;
                self.order += 1;
                self.edits.push(Edit {
                    id,
                    at: start..start,
                    rank: (2, self.order),
                    text: format!("if !crate::mutant::on({id}) {{ "),
                });
                self.edits.push(Edit { id, at: end..end, rank: (0, -self.order), text: " }".to_owned() });
            }
            if let Some(value) = &back.expr {
                if self.returns_nothing { self.unit_expr(value) } else { self.visit_expr(value) }
            }
            return;
        }
        let _ = is_last;
        self.unit_expr(expr);
    }

    /// An expression whose value nobody wants.
    fn unit_expr(&mut self, expr: &Expr) {
        match expr {
            Expr::If(branch) => {
                self.condition(&branch.cond);
                if !is_planted(&branch.cond) {
                    self.block(&branch.then_branch, true);
                }
                if let Some((_, other)) = &branch.else_branch {
                    self.unit_expr(other);
                }
            }
            Expr::Match(whole) => self.arms(whole, true),
            Expr::Block(block) => self.block(&block.block, true),
            Expr::ForLoop(whole) => {
                self.visit_expr(&whole.expr);
                self.block(&whole.body, true);
            }
            Expr::While(whole) => {
                self.condition(&whole.cond);
                self.block(&whole.body, true);
            }
            Expr::Loop(whole) => self.block(&whole.body, true),
            Expr::Return(back) => {
                if let Some(value) = &back.expr {
                    if self.returns_nothing { self.unit_expr(value) } else { self.visit_expr(value) }
                }
            }
            Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) | Expr::Binary(_) if !jumps(expr) => {
                let id = self.new_mutant(expr.span(), format!("left out: {}", self.said(expr.span())));
                self.around(
                    id,
                    expr.span(),
                    format!("{{ if !crate::mutant::on({id}) {{ "),
                    "; } }".to_owned(),
                );
                self.visit_expr(expr);
            }
            other => self.visit_expr(other),
        }
    }

    fn condition(&mut self, cond: &Expr) {
        // These are negated where they stand, condition or not.
        let is_done = matches!(cond, Expr::Binary(b) if matches!(b.op, BinOp::Eq(_) | BinOp::Ne(_)))
            || matches!(cond, Expr::Unary(_));
        if !is_done {
            self.negated(cond);
        }
        self.visit_expr(cond);
    }

    fn arms(&mut self, whole: &ExprMatch, is_unit: bool) {
        self.visit_expr(&whole.expr);
        for arm in &whole.arms {
            if let Some((_, guard)) = &arm.guard {
                self.negated(guard);
                self.visit_expr(guard);
            }
            if arm.guard.as_ref().is_some_and(|(_, guard)| is_planted(guard)) {
                continue;
            }
            if is_unit { self.unit_expr(&arm.body) } else { self.visit_expr(&arm.body) }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attrs = match item {
            Item::Fn(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Const(_) | Item::Static(_) | Item::Macro(_) => return,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.in_function(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if item.sig.constness.is_none() && !is_test(&item.attrs) {
            self.in_function(&item.sig, &item.block);
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        // A `return` in here is the closure's.
        let before = std::mem::replace(&mut self.returns_nothing, false);
        self.visit_expr(&closure.body);
        self.returns_nothing = before;
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.block(block, false);
    }

    fn visit_expr_if(&mut self, branch: &'ast ExprIf) {
        self.condition(&branch.cond);
        if !is_planted(&branch.cond) {
            self.block(&branch.then_branch, branch.else_branch.is_none());
        }
        if let Some((_, other)) = &branch.else_branch {
            self.visit_expr(other);
        }
    }

    fn visit_expr_while(&mut self, whole: &'ast ExprWhile) {
        self.condition(&whole.cond);
        self.block(&whole.body, true);
    }

    fn visit_expr_match(&mut self, whole: &'ast ExprMatch) {
        self.arms(whole, false);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let Some(init) = &local.init else { return };
        self.visit_expr(&init.expr);
        // The other way of a let-else has to leave: nothing in it can be left out.
        if let Some((_, other)) = &init.diverge
            && let Expr::Block(block) = &**other
        {
            for stmt in &block.block.stmts {
                if let Stmt::Expr(Expr::Return(back), _) = stmt
                    && let Some(value) = &back.expr
                {
                    if self.returns_nothing { self.unit_expr(value) } else { self.visit_expr(value) }
                }
            }
        }
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        let whole = Expr::Unary(unary.clone());
        if matches!(unary.op, UnOp::Not(_))
            && !asks_for_planted(&whole)
            && !matches!(*unary.expr, Expr::Macro(_))
        {
            self.negated(&whole);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let name = call.method.to_string();
        let is_float = |expr: &Expr| matches!(expr, Expr::Lit(lit) if matches!(lit.lit, syn::Lit::Float(_)));
        if let ("max" | "min", [only]) = (name.as_str(), call.args.iter().collect::<Vec<_>>().as_slice())
            && !is_float(only)
        {
            let id = self.new_mutant(call.span(), format!("{name} turned round: {}", self.said(call.span())));
            let (whole, receiver) = (call.span().byte_range(), call.receiver.span().byte_range());
            self.order += 1;
            self.edits.push(Edit {
                id,
                at: whole.start..whole.start,
                rank: (2, self.order),
                text: format!("crate::mutant::{name}({id}, "),
            });
            self.instead(id, receiver.end..only.span().byte_range().start, ", ");
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        let (whole, left, right) = (binary.span(), &*binary.left, &*binary.right);
        match binary.op {
            // Behind a planted bug there is nothing of the machine.
            BinOp::And(_) if asks_for_planted(left) && !matches!(left, Expr::Unary(_)) => return,
            BinOp::And(_) if asks_for_planted(right) && !matches!(right, Expr::Unary(_)) => return,
            BinOp::And(_) => {
                self.clause_dropped(left, "true");
                self.clause_dropped(right, "true");
            }
            BinOp::Or(_) => {
                self.clause_dropped(left, "false");
                self.clause_dropped(right, "false");
            }
            BinOp::Eq(_) | BinOp::Ne(_) => self.negated(&Expr::Binary(binary.clone())),
            BinOp::Lt(_) => self.called(whole, left, right, "less", "&", 2, "comparison"),
            BinOp::Le(_) => self.called(whole, left, right, "less_equal", "&", 2, "comparison"),
            BinOp::Gt(_) => self.called(whole, left, right, "greater", "&", 2, "comparison"),
            BinOp::Ge(_) => self.called(whole, left, right, "greater_equal", "&", 2, "comparison"),
            BinOp::Add(_) => self.called(whole, left, right, "plus", "", 1, "minus for plus"),
            BinOp::Sub(_) => self.called(whole, left, right, "minus", "", 1, "plus for minus"),
            BinOp::Mul(_) => self.called(whole, left, right, "times", "", 1, "division for product"),
            BinOp::Div(_) => self.called(whole, left, right, "over", "", 1, "product for division"),
            _ => {}
        }
        visit::visit_expr_binary(self, binary);
    }
}
