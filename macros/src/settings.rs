//! What stands in the parentheses of the attribute.

use std::time::Duration;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Lit, LitStr, Path, Result};

use crate::key;
use crate::value::{self, Checked};

/// The pause before each retry, as it was given.
pub(crate) enum Backoff {
    Text(value::Backoff),
    Expression(Box<Expr>),
}

/// The checked values of the keys.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) krate: Option<Path>,
    pub(crate) name: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<&'static str>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) delay: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) retry_on: Option<[bool; 3]>,
    pub(crate) status_ttl: Option<value::Retention>,
    pub(crate) result_ttl: Option<value::Retention>,
}

impl Settings {
    pub(crate) fn parse(attribute: TokenStream) -> Result<Self> {
        if let Some(TokenTree::Literal(value)) = attribute.clone().into_iter().next() {
            let text = format!("expected a key before the value: name = {}", key::example("name"));
            return Err(Error::new(value.span(), text));
        }
        let mut settings = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let parser = syn::meta::parser(|meta| {
            let key = meta.path.to_token_stream().to_string();
            if seen.contains(&key) {
                return Err(Error::new(meta.path.span(), format!("`{key}` is given twice")));
            }
            settings.set(&key, &meta)?;
            seen.push(key);
            Ok(())
        });
        parser.parse2(attribute)?;
        Ok(settings)
    }

    fn set(&mut self, key: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match key {
            "crate" => self.krate = Some(path(meta)?),
            "name" => self.name = Some(text(key, meta, value::task_name)?),
            "queue" => self.queue = Some(text(key, meta, value::queue_name)?),
            "priority" => self.priority = Some(text(key, meta, value::priority)?),
            "max_retries" => self.max_retries = Some(integer(key, meta)?),
            "timeout" => {
                self.timeout = Some(text(key, meta, value::limit)?);
                self.check_timeouts(meta)?;
            }
            "soft_timeout" => {
                self.soft_timeout = Some(text(key, meta, value::limit)?);
                self.check_timeouts(meta)?;
            }
            "expires" => self.expires = Some(text(key, meta, value::limit)?),
            "delay" => self.delay = Some(text(key, meta, value::delay)?),
            "backoff" => self.backoff = Some(backoff(key, meta)?),
            "retry_on" => self.retry_on = Some(text(key, meta, value::retry_on)?),
            "status_ttl" => self.status_ttl = Some(text(key, meta, value::retention)?),
            "result_ttl" => self.result_ttl = Some(text(key, meta, value::retention)?),
            _ => return Err(Error::new(meta.path.span(), key::unknown(key))),
        }
        Ok(())
    }

    fn check_timeouts(&self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match (self.soft_timeout, self.timeout) {
            (Some(soft), Some(hard)) if soft >= hard => {
                Err(Error::new(meta.path.span(), "soft_timeout must be shorter than timeout"))
            }
            _ => Ok(()),
        }
    }
}

fn expression(key: &str, meta: &ParseNestedMeta<'_>) -> Result<Expr> {
    match meta.value() {
        Ok(value) => value.parse(),
        Err(_) => Err(Error::new(meta.path.span(), format!("`{key}` needs a value: {key} = {}", key::example(key)))),
    }
}

fn text<T>(key: &str, meta: &ParseNestedMeta<'_>, read: fn(&str) -> Checked<T>) -> Result<T> {
    let value = expression(key, meta)?;
    match &value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => checked(key, text, read),
        _ => {
            let text = format!("`{key}` takes a text in quotes: {key} = {}", key::example(key));
            Err(Error::new_spanned(value, text))
        }
    }
}

fn checked<T>(key: &str, text: &LitStr, read: fn(&str) -> Checked<T>) -> Result<T> {
    read(&text.value()).map_err(|refused| Error::new(text.span(), format!("{key}: {refused}")))
}

fn integer(key: &str, meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let value = expression(key, meta)?;
    let number = match &value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        let given = value.to_token_stream().to_string().replace("- ", "-");
        Error::new_spanned(value, format!("{key}: {given} is not allowed: a number from 0 to {}", u32::MAX))
    })
}

fn backoff(key: &str, meta: &ParseNestedMeta<'_>) -> Result<Backoff> {
    match expression(key, meta)? {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => checked(key, &text, value::backoff).map(Backoff::Text),
        expression => Ok(Backoff::Expression(Box::new(expression))),
    }
}

fn path(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let text: LitStr = meta.value()?.parse()?;
    text.parse_with(Path::parse_mod_style)
}
