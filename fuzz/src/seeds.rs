//! What fuzzing begins with: the requests that providers publish, and examples of the configuration.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use toml::Table;

/// An input for a target.
pub struct Seed {
    pub target: &'static str,
    pub name: String,
    pub data: Vec<u8>,
}

/// All seeds, out of the files of the repository.
pub fn all(repository: &Path) -> Result<Vec<Seed>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for (number, provider) in wilco::provider::all().iter().enumerate() {
        let path = repository.join(format!("crates/wilco/providers/{}.toml", provider.name));
        let text = fs::read_to_string(path)?;
        let vectors = text.find("[[vector]]").unwrap_or(text.len());
        let table: Table = toml::from_str(&text)?;
        let vector = table.get("vector").and_then(|all| all.get(0)).and_then(toml::Value::as_table);
        let request = vector.map(request).unwrap_or_default();
        let [first, ..] = number.to_le_bytes();
        let mut add = |target, data| {
            seeds.push(Seed { target, name: provider.name.clone(), data });
        };
        for target in ["signature", "envelope", "doctor"] {
            add(target, [&[first], request.as_bytes()].concat());
        }
        add("provider", format!("{}\n---\n{request}", &text[..vectors]).into_bytes());
    }
    let example = fs::read_to_string(repository.join("examples/wilco.toml"))?;
    let manual = fs::read_to_string(repository.join("docs/providers.md"))?;
    let blocks = manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let uncommented = example.replace("\n# ", "\n").replace("\n#", "\n");
    let configurations = [example.as_str(), &uncommented].into_iter().chain(blocks);
    for (number, text) in configurations.enumerate() {
        let (name, data) = (number.to_string(), text.as_bytes().to_vec());
        seeds.push(Seed { target: "configuration", name, data });
    }
    Ok(seeds)
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
