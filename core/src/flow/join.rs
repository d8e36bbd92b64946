use super::graph::Graph;
use super::{Flow, IntoFlow, Shape};

/// Calls and flows that can be joined: a tuple of 1 to 8.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be joined",
    note = "join takes a tuple of 1 to 8 calls and flows: `join((add::call(2, 3), name::call(7)))`"
)]
pub trait Join {
    /// What they end with: a tuple.
    type Output;

    /// The flow that ends when all have ended.
    fn join(self) -> Flow<Self::Output>;
}

macro_rules! join {
    ($($name:ident)+) => {
        impl<$($name: IntoFlow),+> Join for ($($name,)+) {
            type Output = ($($name::Output,)+);

            #[allow(non_snake_case, reason = "the names of the types are those of the values")]
            fn join(self) -> Flow<Self::Output> {
                let ($($name,)+) = self;
                Flow::new(Graph::together([$($name.into_flow().into_graph()),+], Shape::Tuple, "join"))
            }
        }
    };
}

join!(A);
join!(A B);
join!(A B C);
join!(A B C D);
join!(A B C D E);
join!(A B C D E F);
join!(A B C D E F G);
join!(A B C D E F G H);

/// Runs calls and flows of different types beside each other; what follows takes the tuple of their
/// results.
#[doc(alias = "zip", alias = "chord", alias = "fan_in")]
pub fn join<J: Join>(members: J) -> Flow<J::Output> {
    members.join()
}
