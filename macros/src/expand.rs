//! From what was read to the code that stands beside the function.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::function::Function;
use crate::settings::{Backoff, Settings};
use crate::value::{self, Growth, Retention};

/// The type of the same name, `call` and `step`, and the implementation of `Task`.
pub(crate) fn task(settings: &Settings, function: &Function) -> TokenStream {
    // What the compiler says about the generated code, it says at the name of the function.
    let at = located(function.name.span());
    let p = &private(settings, at);
    let ty = type_of(p, at, function);
    let call = call(p, at, function);
    let step = step(p, at, function);
    let task = implementation(p, at, settings, function);
    quote!(#ty #call #step #task)
}

/// Names resolve as in any macro; messages point to `place`.
fn located(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The hidden module of the facade.
fn private(settings: &Settings, at: Span) -> TokenStream {
    let Some(path) = &settings.krate else { return quote_spanned!(at=> ::windlass::__private) };
    let path = moved(path, at);
    quote_spanned!(at=> #path::__private)
}

/// A path at another place.
fn moved(path: &impl ToTokens, at: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter().map(|mut token| {
        token.set_span(at);
        token
    });
    tokens.collect()
}

fn type_of(p: &TokenStream, at: Span, function: &Function) -> TokenStream {
    let Function { attributes, visibility, name, .. } = function;
    let link = link(function);
    let doc =
        format!(" The task that runs {link}: `{name}::call` makes a call of it, and a worker registers this type.");
    quote_spanned! {at=>
        #(#attributes)*
        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(#p::std::fmt::Debug, #p::std::clone::Clone, #p::std::marker::Copy)]
        #visibility struct #name {}
    }
}

fn link(function: &Function) -> String {
    format!("[`{}`](fn@{})", function.name, function.name.unraw())
}

fn call(p: &TokenStream, at: Span, function: &Function) -> TokenStream {
    let Function { visibility, name, output, .. } = function;
    let cfgs = cfgs(function);
    let arguments: Vec<&Ident> = function.arguments.iter().map(|argument| &argument.name).collect();
    let types = function.arguments.iter().map(|argument| &argument.ty);
    let doc = format!(" A call of {} with these arguments, to be enqueued.", link(function));
    quote_spanned! {at=>
        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::too_many_arguments, clippy::pedantic)]
        impl #name {
            #[doc = #doc]
            #visibility fn call(#(#arguments: #types),*) -> #p::Call<#output> {
                <Self as #p::Task>::call_with(&(#(#arguments,)*))
            }
        }
    }
}

/// `step`, if there is a first argument that another task can make.
fn step(p: &TokenStream, at: Span, function: &Function) -> Option<TokenStream> {
    let Function { visibility, name, output, .. } = function;
    let (first, rest) = function.arguments.split_first()?;
    let (cfgs, first) = (cfgs(function), &first.ty);
    let arguments: Vec<&Ident> = rest.iter().map(|argument| &argument.name).collect();
    let types = rest.iter().map(|argument| &argument.ty);
    let doc = format!(
        " A call of {} whose first argument is what it follows in a workflow; these are the others.",
        link(function)
    );
    // What stands in the code of an application must not set off lints that the application has chosen.
    Some(quote_spanned! {at=>
        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::too_many_arguments, clippy::pedantic)]
        impl #name {
            #[doc = #doc]
            #visibility fn step(#(#arguments: #types),*) -> #p::Step<#first, #output> {
                #p::Step::<#first, #output>::after(
                    <Self as #p::Task>::NAME,
                    &(#(#arguments,)*),
                    <Self as #p::Task>::options(),
                )
            }
        }
    })
}

fn implementation(p: &TokenStream, at: Span, settings: &Settings, function: &Function) -> TokenStream {
    let Function { name, output, .. } = function;
    let cfgs = cfgs(function);
    let wire_name = settings.name.clone().unwrap_or_else(|| name.unraw().to_string());
    let types = function.arguments.iter().map(|argument| &argument.ty);
    let arguments = quote_spanned!(located(function.parameters)=> (#(#types,)*));
    let options = options(p, settings);
    let runs = runs(p, at, function);
    quote_spanned! {at=>
        #(#cfgs)*
        #[allow(deprecated, clippy::pedantic, clippy::type_complexity)]
        #[automatically_derived]
        impl #p::Task for #name {
            const NAME: &'static str = #wire_name;
            type Args = #arguments;
            type Output = #output;
            #options
            #runs
        }
    }
}

fn cfgs(function: &Function) -> impl Iterator<Item = &syn::Attribute> {
    function.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"))
}

/// `run`, and for a function that blocks also `work`.
fn runs(p: &TokenStream, at: Span, function: &Function) -> TokenStream {
    // Hygienic names: they cannot hide the function or anything else of the user's.
    let context = Ident::new("context", Span::mixed_site());
    let locals: Vec<Ident> = (0..function.arguments.len()).map(local("argument")).collect();
    let parameters = quote_spanned!(at=> #context: #p::Context, (#(#locals,)*): Self::Args);
    let body = body(p, at, function, &context, &locals);
    let run = quote_spanned! {at=>
        async fn run(#parameters) -> #p::std::result::Result<Self::Output, #p::TaskError> { #body }
    };
    if function.is_async {
        return run;
    }
    quote_spanned! {at=>
        #run
        fn work(#parameters) -> #p::Work<Self::Output> {
            #p::Work::Blocking(#p::std::boxed::Box::new(move || { #body }))
        }
    }
}

/// Takes what the worker gives, calls the function, and makes an answer of what it returns.
fn body(p: &TokenStream, at: Span, function: &Function, context: &Ident, locals: &[Ident]) -> TokenStream {
    let Function { worker_types, output, .. } = function;
    let given: Vec<Ident> = (0..worker_types.len()).map(local("given")).collect();
    // A result that does not fit is told at the return type.
    let returns = located(function.returns);
    let into = moved(p, returns);
    let mut name = function.name.clone();
    name.set_span(name.span().located_at(returns));
    let wait = function.is_async.then(|| quote_spanned!(returns=> .await));
    let answer = quote_spanned! {returns=>
        <_ as #into::IntoAnswer<#output>>::into_answer(#name(#(#given,)* #(#locals),*) #wait)
    };
    quote_spanned! {at=>
        let _ = &#context;
        #(let #given = <#worker_types as #p::FromContext>::from_context(&#context)?;)*
        #answer
    }
}

fn local(kind: &'static str) -> impl Fn(usize) -> Ident {
    move |index| format_ident!("{kind}{index}", span = Span::mixed_site())
}

/// `options`, unless nothing was asked for.
fn options(p: &TokenStream, settings: &Settings) -> Option<TokenStream> {
    let span = |span: Duration| duration(p, span);
    let ttl = |ttl: Retention| retention(p, ttl);
    // Both were checked when the attribute was read, so `ok` takes nothing away.
    let queue = settings.queue.as_ref().map(|queue| quote!(queue: #p::QueueName::new(#queue).ok(),));
    let priority = settings.priority.map(|level| quote!(priority: #p::std::str::FromStr::from_str(#level).ok(),));
    let fields = [
        queue,
        priority,
        field("max_retries", settings.max_retries, |retries| retries.into_token_stream(), p),
        field("timeout", settings.timeout, span, p),
        field("soft_timeout", settings.soft_timeout, span, p),
        field("expires", settings.expires, span, p),
        field("delay", settings.delay, span, p),
        field("backoff", settings.backoff.as_ref(), |given| backoff(p, given), p),
        field("retry_on", settings.retry_on, |on| retry_on(p, on), p),
        field("status_ttl", settings.status_ttl, ttl, p),
        field("result_ttl", settings.result_ttl, ttl, p),
    ];
    let fields: Vec<TokenStream> = fields.into_iter().flatten().collect();
    (!fields.is_empty()).then(|| {
        quote! {
            fn options() -> #p::Options {
                #p::Options { #(#fields)* ..#p::std::default::Default::default() }
            }
        }
    })
}

fn field<T>(
    name: &str,
    value: Option<T>,
    tokens: impl FnOnce(T) -> TokenStream,
    p: &TokenStream,
) -> Option<TokenStream> {
    let (name, value) = (format_ident!("{name}"), tokens(value?));
    Some(quote!(#name: #p::std::option::Option::Some(#value),))
}

fn duration(p: &TokenStream, span: Duration) -> TokenStream {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    quote!(#p::std::time::Duration::new(#seconds, #nanos))
}

fn retention(p: &TokenStream, ttl: Retention) -> TokenStream {
    match ttl {
        Retention::None => quote!(#p::Retention::None),
        Retention::Forever => quote!(#p::Retention::Forever),
        Retention::For(span) => {
            let span = duration(p, span);
            quote!(#p::Retention::For(#span))
        }
    }
}

fn retry_on(p: &TokenStream, [errors, timeouts, panics]: [bool; 3]) -> TokenStream {
    quote!(#p::RetryOn { errors: #errors, timeouts: #timeouts, panics: #panics })
}

fn backoff(p: &TokenStream, given: &Backoff) -> TokenStream {
    let value::Backoff { growth, base, cap, jitter } = match given {
        Backoff::Text(backoff) => *backoff,
        Backoff::Expression(expression) => {
            // The type is named so that another one is told at the expression.
            let at = located(expression.span());
            let p = moved(p, at);
            return quote_spanned!(at=> { let backoff: #p::Backoff = #expression; backoff });
        }
    };
    let (base, cap) = (duration(p, base), duration(p, cap));
    let made = match growth {
        Growth::Fixed => quote!(#p::Backoff::fixed(#base)),
        Growth::Linear => quote!(#p::Backoff::linear(#base, #cap)),
        Growth::Exponential(factor) => quote!(#p::Backoff::exponential(#base, #factor, #cap)),
    };
    let jitter = jitter.map(|share| quote!(.with_jitter(#share)));
    quote!(#made #jitter)
}
