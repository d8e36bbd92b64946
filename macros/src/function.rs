//! What the attribute stands on.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, Pat, PatType, PathArguments, PathSegment, Result, ReturnType,
    Safety, Signature, Token, Type, Visibility,
};

const MAX_ARGUMENTS: usize = 8;
const MAX_WORKER_PARAMETERS: usize = 3;

/// A function that can be a task.
pub(crate) struct Function {
    /// Those attributes that decide whether and how the function can be used.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) is_async: bool,
    /// The types of the first parameters, which the worker gives.
    pub(crate) worker_types: Vec<Type>,
    pub(crate) arguments: Vec<Argument>,
    /// The place of all parameters.
    pub(crate) parameters: Span,
    /// The result, without the `Result` around it.
    pub(crate) output: Type,
    /// The place of the return type, or of the name if there is none.
    pub(crate) returns: Span,
}

/// A parameter that travels.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

impl Function {
    /// Reads attributes, visibility and signature. The body is left to the compiler.
    pub(crate) fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility: Visibility = input.parse()?;
        if !starts_function(input) {
            return Err(input.error("`#[task]` goes on a function: `#[task] async fn add(a: i64, b: i64) -> i64`"));
        }
        let signature: Signature = input.parse()?;
        let _body: TokenStream = input.parse()?;
        Self::from_signature(attributes, visibility, &signature)
    }

    fn from_signature(attributes: Vec<Attribute>, visibility: Visibility, signature: &Signature) -> Result<Self> {
        let mut problems = Problems::default();
        check_kind(signature, &mut problems);
        let (worker_types, arguments) = parameters(signature, &mut problems);
        let output = output(&signature.output, &mut problems);
        problems.into_result()?;
        let counts = |attribute: &Attribute| ["cfg", "deprecated"].iter().any(|name| attribute.path().is_ident(name));
        Ok(Self {
            attributes: attributes.into_iter().filter(counts).collect(),
            visibility,
            name: signature.ident.clone(),
            is_async: signature.asyncness.is_some(),
            worker_types,
            arguments,
            parameters: signature.paren_token.span.join(),
            output,
            returns: match &signature.output {
                ReturnType::Type(_, ty) => ty.span(),
                ReturnType::Default => signature.ident.span(),
            },
        })
    }
}

/// Everything that is wrong with a function, told at once.
#[derive(Default)]
struct Problems(Option<Error>);

impl Problems {
    fn add(&mut self, at: impl ToTokens, text: impl std::fmt::Display) {
        let error = Error::new_spanned(at, text);
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

fn starts_function(input: ParseStream<'_>) -> bool {
    // `const` also starts a constant and `unsafe` an impl; what follows tells.
    let ahead = input.fork();
    ahead.parse::<Signature>().is_ok() || input.peek(Token![fn]) || input.peek(Token![async])
}

fn check_kind(signature: &Signature, problems: &mut Problems) {
    if let Safety::Unsafe(token) = &signature.safety {
        problems.add(token, "a task cannot be unsafe: the worker that calls it knows no conditions to keep");
    }
    if let Some(abi) = &signature.abi {
        problems.add(abi, "a task is an ordinary Rust function, without `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        problems.add(variadic, "a task has a fixed number of arguments");
    }
    if !signature.generics.params.is_empty() {
        let text = "a task cannot be generic: a worker must know the types of the bytes that it gets; \
                    write one task for each type";
        problems.add(&signature.generics.params, text);
    }
}

fn parameters(signature: &Signature, problems: &mut Problems) -> (Vec<Type>, Vec<Argument>) {
    let (mut worker_types, mut arguments) = (Vec::new(), Vec::new());
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                problems.add(receiver, "a task is a free function: `self` does not travel to another process");
            }
            FnArg::Typed(parameter) => {
                check_conditional(parameter, problems);
                if !is_worker_type(&parameter.ty) {
                    check_owned(&parameter.ty, "arguments travel", problems);
                    arguments.push(Argument::new(parameter, arguments.len()));
                } else if arguments.is_empty() {
                    worker_types.push(Type::clone(&parameter.ty));
                } else {
                    problems.add(parameter, "`Context` and `State<T>` come before the arguments");
                }
            }
        }
    }
    check_counts(signature, worker_types.len(), arguments.len(), problems);
    (worker_types, arguments)
}

fn check_counts(signature: &Signature, worker_types: usize, arguments: usize, problems: &mut Problems) {
    if worker_types > MAX_WORKER_PARAMETERS {
        let text = format!(
            "a task takes at most {MAX_WORKER_PARAMETERS} of `Context` and `State<T>`, not {worker_types}: \
             put the values of the application into one struct"
        );
        problems.add(&signature.inputs, text);
    }
    if arguments > MAX_ARGUMENTS {
        let text = format!("a task takes at most {MAX_ARGUMENTS} arguments, not {arguments}: put them into a struct");
        problems.add(&signature.inputs, text);
    }
}

fn check_conditional(parameter: &PatType, problems: &mut Problems) {
    for attribute in &parameter.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            problems.add(attribute, "a parameter of a task is always there: put `#[cfg]` on the function");
        }
    }
}

impl Argument {
    fn new(parameter: &PatType, index: usize) -> Self {
        let name = match &*parameter.pat {
            Pat::Ident(pattern) => pattern.ident.clone(),
            pattern => format_ident!("arg{index}", span = pattern.span().resolved_at(Span::mixed_site())),
        };
        Self { name, ty: Type::clone(&parameter.ty) }
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

fn is_worker_type(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| match segment.arguments {
        PathArguments::None => segment.ident == "Context",
        _ => segment.ident == "State",
    })
}

/// Refuses types that borrow, and types that are chosen by the caller.
fn check_owned(ty: &Type, what: &str, problems: &mut Problems) {
    if let Type::ImplTrait(_) = ty {
        problems.add(ty, format!("{what} to another process: name the type instead of `impl Trait`"));
    } else if borrows(ty.to_token_stream()) {
        problems.add(ty, format!("{what} to another process: use {}", owned(ty)));
    }
}

/// Whether there is a reference in it, or a lifetime other than `'static`.
fn borrows(tokens: TokenStream) -> bool {
    let mut after_quote = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => borrows(group.stream()),
        TokenTree::Punct(punct) => {
            after_quote = punct.as_char() == '\'';
            punct.as_char() == '&'
        }
        TokenTree::Ident(ident) => std::mem::take(&mut after_quote) && ident != "static",
        TokenTree::Literal(_) => false,
    })
}

/// The owned type to use instead of a reference.
fn owned(ty: &Type) -> String {
    match ty {
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(slice) => format!("Vec<{}>", slice.elem.to_token_stream()),
            Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
            Type::Path(path) if path.path.is_ident("Path") => "PathBuf".to_owned(),
            Type::Path(path) => path.to_token_stream().to_string(),
            _ => "an owned type".to_owned(),
        },
        _ => "an owned type".to_owned(),
    }
}

fn output(output: &ReturnType, problems: &mut Problems) -> Type {
    let unit = || syn::parse_quote!(());
    let ReturnType::Type(_, ty) = output else { return unit() };
    let result = match last_segment(ty) {
        Some(segment) if segment.ident == "Result" => match first_type(&segment.arguments) {
            Some(ok) => ok,
            None => {
                let text = "write the result out, such as `Result<(), Error>`: the attribute reads its type here";
                problems.add(ty, text);
                return unit();
            }
        },
        _ => ty,
    };
    check_owned(result, "the result travels", problems);
    result.clone()
}

fn first_type(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}
