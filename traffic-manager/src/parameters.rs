//! Query parameters, with errors that name them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::HttpRequest;
use artifact::{Label, TenantList};
use kit::problem::Problem;
use url::form_urlencoded;

/// The parameters of a request; a blank may be written `+` or `%20`.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// # Errors
    /// When it is given more than once.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(bad(name, "is given more than once"));
        }
        Ok(first)
    }

    /// # Errors
    /// When it is missing or empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Problem> {
        match self.text(name)? {
            None => Err(bad(name, "is missing")),
            Some("") => Err(bad(name, "is empty")),
            Some(value) => Ok(value),
        }
    }

    /// # Errors
    /// When its value is none of this type; `expected` says what is.
    pub(crate) fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        let parse = |value: &str| {
            let parsed = value.parse();
            parsed.map_err(|_| bad(name, format!("{value:?} is not {expected}")))
        };
        self.text(name)?.map(parse).transpose()
    }

    /// A number of at least `least`.
    pub(crate) fn number(&self, name: &str, least: u64) -> Result<Option<u64>, Problem> {
        let expected = format!("a whole number of at least {least}");
        let number: Option<u64> = self.parsed(name, &expected)?;
        match number {
            Some(found) if found < least => {
                Err(bad(name, format!("\"{found}\" is not {expected}")))
            }
            number => Ok(number),
        }
    }

    /// A number between two, both included.
    pub(crate) fn between(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let number: Option<u64> = self.parsed(name, &expected)?;
        match number {
            Some(found) if !range.contains(&found) => {
                Err(bad(name, format!("\"{found}\" is not {expected}")))
            }
            number => Ok(number),
        }
    }

    /// Sees to it that there are no others, so that a misspelled one is not passed over.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Problem> {
        let other = self
            .0
            .iter()
            .find(|(key, _)| !names.contains(&key.as_str()));
        other.map_or(Ok(()), |(key, _)| {
            let names = names.join(", ");
            Err(bad(
                key,
                format!("is no parameter of this resource; it has {names}"),
            ))
        })
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.parsed(name, "true or false")?.unwrap_or(false))
    }

    /// The label of a parameter that has to be there.
    pub(crate) fn label(&self, name: &str) -> Result<Label, Problem> {
        let value = self.text(name)?.ok_or_else(|| bad(name, "is missing"))?;
        Label::parse(value).map_err(|error| bad(name, error))
    }

    /// A list of tenants: `a.example,b.example`, `*`, `*,!c.example`; `None` where it is not given.
    pub(crate) fn tenants(&self, name: &str) -> Result<Option<TenantList>, Problem> {
        let list = self.text(name)?.map(TenantList::parse);
        list.transpose().map_err(|error| bad(name, error))
    }

    /// The parts of a list whose items stand between commas; `None` where it is not given.
    pub(crate) fn list(&self, name: &str) -> Result<Option<Vec<&str>>, Problem> {
        Ok(self.text(name)?.map(|list| list.split(',').collect()))
    }
}

pub(crate) fn bad(name: &str, rule: impl Display) -> Problem {
    Problem::bad_request("bad-parameter", format!("{name}: {rule}"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(query: &str) -> Parameters {
        let uri = format!("/x?{query}");
        Parameters::of(&TestRequest::with_uri(&uri).to_http_request())
    }

    #[test]
    fn a_blank_is_written_in_two_ways() {
        for query in ["l=Production+and+Sandbox", "l=Production%20and%20Sandbox"] {
            let label = of(query).label("l").unwrap();
            assert_eq!(label.as_str(), "Production and Sandbox");
        }
        assert_eq!(of("l=a%2Bb%26c").label("l").unwrap().as_str(), "a+b&c");
    }

    #[test]
    fn an_error_names_the_parameter() {
        let detail = |problem: Problem| problem.detail;
        assert_eq!(detail(of("").required("a").unwrap_err()), "a: is missing");
        assert_eq!(detail(of("a=").required("a").unwrap_err()), "a: is empty");
        let twice = of("a=1&a=2").number("a", 0).unwrap_err();
        assert_eq!(detail(twice), "a: is given more than once");
        for value in ["x", "-1", "0", "99999999999999999999"] {
            let problem = of(&format!("after={value}"))
                .number("after", 1)
                .unwrap_err();
            let expected = format!("after: \"{value}\" is not a whole number of at least 1");
            assert_eq!(detail(problem), expected);
        }
        assert_eq!(
            detail(of("f=yes").flag("f").unwrap_err()),
            "f: \"yes\" is not true or false"
        );
        assert!(of("f=true").flag("f").unwrap());
        assert!(
            detail(of("l=").label("l").unwrap_err()).starts_with("l: a label must not be empty")
        );
        for value in ["0", "11", "x", ""] {
            let problem = of(&format!("n={value}")).between("n", 1..=10).unwrap_err();
            let expected = format!("n: \"{value}\" is not a whole number from 1 to 10");
            assert_eq!(detail(problem), expected);
        }
        assert_eq!(of("n=10").between("n", 1..=10).unwrap(), Some(10));
        assert_eq!(
            detail(of("a=1&lable=x").only(&["a", "label"]).unwrap_err()),
            "lable: is no parameter of this resource; it has a, label"
        );
        assert_eq!(of("l=a,b").list("l").unwrap(), Some(vec!["a", "b"]));
        assert_eq!(
            detail(of("t=a,,b").tenants("t").unwrap_err()),
            "t: has an empty item; the items stand between commas"
        );
        let list = of("t=*%2C!b").tenants("t").unwrap().unwrap();
        assert!(list.has("a") && !list.has("b"));
    }
}
