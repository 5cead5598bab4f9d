//! Reading a metrics page (Prometheus text format) the way a query would: by name and some of the labels.

/// Adds up the series of an exposition that have that name and all those labels.
pub fn sum_of(exposition: &str, series: &str) -> f64 {
    let split = |text: &str| -> (String, Vec<String>) {
        let (name, labels) = text.split_once('{').unwrap_or((text, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        (name.to_owned(), labels.map(str::to_owned).collect())
    };
    let (wanted, labels) = split(series);
    let values = exposition.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, has) = split(series);
        (name == wanted && labels.iter().all(|label| has.contains(label)))
            .then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}
