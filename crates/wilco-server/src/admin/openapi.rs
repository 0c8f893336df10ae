//! The OpenAPI document, put together from the routes of the API: their paths, and the types that
//! their handlers take and answer.

use axum::http::{Method, StatusCode};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder,
        Ref, RefOr, Required, ResponseBuilder, Schema,
        path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    EventStream, Json, LastEventId, NoContent, Octets, Page, Path, Problem, Query, StreamedData,
};

/// The schemas that an operation refers to, by name.
pub(crate) type Schemas = Vec<(String, RefOr<Schema>)>;

/// One operation of the API, as the document describes it.
pub(crate) struct Described {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    operation: Operation,
    schemas: Schemas,
}

/// A handler with these arguments, described by its signature. The state that it gets is not part
/// of the description.
pub(crate) trait Describe<Arguments> {
    /// Adds the arguments and the response.
    fn describe(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder;
}

/// An argument of a handler.
pub(crate) trait Argument {
    fn describe(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder;
}

/// A response of a handler.
pub(crate) trait Success {
    const STATUS: StatusCode = StatusCode::OK;
    fn content(schemas: &mut Schemas) -> Option<(&'static str, Content)>;
}

impl Described {
    pub(crate) fn new<A, H: Describe<A>>(
        method: Method,
        path: &'static str,
        id: &str,
        summary: &str,
        _: &H,
    ) -> Self {
        let mut schemas = Schemas::new();
        let operation = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        let problem = ResponseBuilder::new()
            .description("The request was not carried out.")
            .content(Problem::CONTENT_TYPE, Content::new(Some(refer::<Problem>(&mut schemas))));
        // What it is about: `events` of `/api/v1/events/{id}`.
        let about = path.split('/').nth(3).unwrap_or_default();
        let operation =
            H::describe(operation, &mut schemas).tag(about).response("default", problem);
        Self { method, path, operation: operation.build(), schemas }
    }
}

/// The document about these operations.
pub(crate) fn document(operations: impl IntoIterator<Item = Described>) -> OpenApi {
    let (mut paths, mut components) = (PathsBuilder::new(), ComponentsBuilder::new());
    for Described { method, path, operation, mut schemas } in operations {
        let method = if method == Method::POST { HttpMethod::Post } else { HttpMethod::Get };
        paths = paths.path(path, PathItem::new(method, operation));
        schemas.iter_mut().for_each(|(_, schema)| forbid_null(schema));
        components = components.schemas_from_iter(schemas);
    }
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let info = InfoBuilder::new()
        .title("wilco admin API")
        .version("1")
        .description(Some(
            "What wilco recorded, what became of it, and what to do about it. Every GET takes either token, every \
             POST that of operators. A listing is answered in pages: repeat the request with `cursor` set to \
             `next`, until that is null. A member that is not required is absent where there is nothing to say.",
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.security_scheme("token", token).build()))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

/// A member that need not be there is absent instead of null.
fn forbid_null(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            for (name, member) in &mut object.properties {
                if !object.required.contains(name) {
                    remove_null(member);
                }
            }
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(forbid_null),
        _ => {}
    }
}

/// Removes null from what a value may be.
fn remove_null(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let [only, Type::Null] = types.as_slice()
            {
                object.schema_type = SchemaType::Type(only.clone());
            }
        }
        RefOr::T(Schema::OneOf(one)) => {
            one.items.retain(|item| !is_null(item));
            if let [only] = one.items.as_slice() {
                *schema = only.clone();
            }
        }
        _ => {}
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    let RefOr::T(Schema::Object(object)) = schema else { return false };
    object.schema_type == SchemaType::Type(Type::Null)
}

/// A reference to the schema of this type, which is added with all that it refers to.
fn refer<T: ToSchema>(schemas: &mut Schemas) -> Ref {
    let name = T::name();
    schemas.push((name.clone().into_owned(), T::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(name)
}

impl<F, S, R, O> Describe<(S, O)> for F
where
    F: Fn(S) -> R,
    R: Future<Output = Result<O, Problem>>,
    O: Success,
{
    fn describe(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder {
        respond::<O>(operation, schemas)
    }
}

impl<F, S, A, R, O> Describe<(S, A, O)> for F
where
    F: Fn(S, A) -> R,
    A: Argument,
    R: Future<Output = Result<O, Problem>>,
    O: Success,
{
    fn describe(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder {
        respond::<O>(A::describe(operation, schemas), schemas)
    }
}

impl<F, S, A, B, R, O> Describe<(S, A, B, O)> for F
where
    F: Fn(S, A, B) -> R,
    A: Argument,
    B: Argument,
    R: Future<Output = Result<O, Problem>>,
    O: Success,
{
    fn describe(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder {
        let operation = A::describe(operation, schemas);
        respond::<O>(B::describe(operation, schemas), schemas)
    }
}

fn respond<O: Success>(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder {
    let mut response = ResponseBuilder::new().description("The request was carried out.");
    if let Some((content_type, content)) = O::content(schemas) {
        response = response.content(content_type, content);
    }
    operation.response(O::STATUS.as_str(), response)
}

impl<T: IntoParams> Argument for Path<T> {
    fn describe(operation: OperationBuilder, _: &mut Schemas) -> OperationBuilder {
        operation.parameters(Some(T::into_params(|| Some(ParameterIn::Path))))
    }
}

impl<T: IntoParams> Argument for Query<T> {
    fn describe(operation: OperationBuilder, _: &mut Schemas) -> OperationBuilder {
        let mut parameters = T::into_params(|| Some(ParameterIn::Query));
        for parameter in &mut parameters {
            // A query has no way to write null.
            parameter.schema.iter_mut().for_each(remove_null);
        }
        operation.parameters(Some(parameters))
    }
}

impl<T: ToSchema> Argument for Json<T> {
    fn describe(operation: OperationBuilder, schemas: &mut Schemas) -> OperationBuilder {
        let content = Content::new(Some(refer::<T>(schemas)));
        let body = RequestBodyBuilder::new().content("application/json", content);
        operation.request_body(Some(body.required(Some(Required::True)).build()))
    }
}

impl<T: ToSchema> Success for Json<T> {
    fn content(schemas: &mut Schemas) -> Option<(&'static str, Content)> {
        Some(("application/json", Content::new(Some(refer::<T>(schemas)))))
    }
}

impl Success for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;

    fn content(_: &mut Schemas) -> Option<(&'static str, Content)> {
        None
    }
}

impl Argument for LastEventId {
    fn describe(operation: OperationBuilder, _: &mut Schemas) -> OperationBuilder {
        let parameter = ParameterBuilder::new()
            .name("Last-Event-ID")
            .parameter_in(ParameterIn::Header)
            .description(Some("Begins behind the message with this id."))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        operation.parameter(parameter)
    }
}

impl Success for EventStream {
    fn content(schemas: &mut Schemas) -> Option<(&'static str, Content)> {
        Some(("text/event-stream", Content::new(Some(refer::<StreamedData>(schemas)))))
    }
}

impl Success for Octets {
    fn content(_: &mut Schemas) -> Option<(&'static str, Content)> {
        Some(("application/octet-stream", Content::default()))
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        refer::<T>(schemas);
    }
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let next = SchemaType::from_iter([Type::String, Type::Null]);
        let next = ObjectBuilder::new()
            .schema_type(next)
            .description(Some("The cursor of the next page; null on the last one."));
        let items = ArrayBuilder::new()
            .items(Ref::from_schema_name(T::name()))
            .description(Some("The items of this part."));
        ObjectBuilder::new()
            .description(Some("One part of a listing."))
            .property("items", items)
            .required("items")
            .property("next", next)
            .required("next")
            .into()
    }
}
