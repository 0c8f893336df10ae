//! Writes what the fuzzer begins with: the requests that providers publish.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

use toml::Table;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = env::args_os().nth(1).map_or(root.join("corpus"), Into::into);
    for target in ["signature", "provider", "envelope", "doctor"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    for (number, provider) in wilco::provider::all().iter().enumerate() {
        let path = root.join(format!("../crates/wilco/providers/{}.toml", provider.name));
        let text = fs::read_to_string(path)?;
        let vectors = text.find("[[vector]]").unwrap_or(text.len());
        let table: Table = toml::from_str(&text)?;
        let vector = table.get("vector").and_then(|all| all.get(0)).and_then(toml::Value::as_table);
        let request = vector.map(request).unwrap_or_default();
        let [first, ..] = number.to_le_bytes();
        let numbered = [&[first], request.as_bytes()].concat();
        for target in ["signature", "envelope", "doctor"] {
            fs::write(corpus.join(target).join(&provider.name), &numbered)?;
        }
        let whole = format!("{}\n---\n{request}", &text[..vectors]);
        fs::write(corpus.join("provider").join(&provider.name), whole)?;
    }
    Ok(())
}

/// A vector as the text of a request.
fn request(vector: &Table) -> String {
    let text = |key: &str| vector.get(key).and_then(toml::Value::as_str).unwrap_or_default();
    let mut request = format!("POST {}", text("url"));
    for (name, value) in vector.get("headers").and_then(toml::Value::as_table).into_iter().flatten()
    {
        let _ = write!(request, "\n{name}: {}", value.as_str().unwrap_or_default());
    }
    format!("{request}\n\n{}", text("body"))
}
