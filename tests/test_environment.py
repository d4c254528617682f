"""Are wrong variables refused with a sentence that names them, and are secrets kept?"""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.config import ConfigError, definitions_from
from streams.environment import Environment, bootstrap, client_settings, read_environment, variables, without_channel


def test_a_secret_comes_from_a_file_and_does_not_show_itself(tmp_path: Path):
    """The file's text without white space around it; repr hides it."""
    (tmp_path / "token").write_text("xoxb-1\n")
    found = read_environment({"DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})
    assert (str(found.slack_token), "xoxb-1" in repr(found)) == ("xoxb-1", False)


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path):
    """Some editors begin each file with one, and no broker would say that this is what is wrong with a password."""
    (tmp_path / "password").write_text("secret\n", encoding="utf-8-sig")
    files = {"DEALPULSE_SASL_PASSWORD_FILE": str(tmp_path / "password")}
    protocol = {
        "DEALPULSE_SECURITY_PROTOCOL": "SASL_SSL",
        "DEALPULSE_SASL_MECHANISM": "PLAIN",
        "DEALPULSE_SASL_USERNAME": "us",
    }
    assert read_environment({**protocol, **files}).sasl_password == "secret"


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "cannot read"), (b"\xff\xfe", "is not UTF-8"), (b" \n", "is empty")]
)
def test_a_secret_that_cannot_be_read_is_refused(tmp_path: Path, content, sentence):
    """Silence would send alerts to the log."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match=f"^DEALPULSE_SLACK_TOKEN_FILE: .*{sentence}"):
        read_environment({"DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize(
    ("said", "in_yaml", "refused"),
    [
        ({}, None, False),
        ({"SLACK_TOKEN": "xoxb-1"}, None, True),
        ({"SLACK_TOKEN": "xoxb-1"}, "#sales", False),
        ({"SLACK_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#sales"}, None, False),
        ({"SLACK_WEBHOOK": "https://hooks"}, None, False),
        ({"SLACK_TOKEN": "xoxb-1", "SLACK_WEBHOOK": "https://hooks"}, None, False),
    ],
)
def test_a_bot_without_a_channel_tells_nobody(said, in_yaml, refused):
    """Where no webhook does."""
    environment = read_environment({f"DEALPULSE_{name}": value for name, value in said.items()})
    sentence = without_channel(environment, definitions_from({"slack": {"channel": in_yaml}}))
    assert bool(sentence) is refused
    assert sentence is None or sentence.startswith("DEALPULSE_SLACK_CHANNEL is missing")


def test_where_each_value_came_from_is_known(tmp_path: Path):
    """Also of one that says what is the default anyway."""
    (tmp_path / "token").write_text("xoxb-1")
    environ = {
        "DEALPULSE_WATCHDOG": "60", "DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token"), "DEALPULSE_BROKER": "kafka://a:1",
        "DEALPULSE_LOG_LEVEL": "",
    }  # fmt: skip
    found = variables(environ, broker="kafka://b:2", config=None)
    names = ("watchdog", "slack_token", "broker", "config", "log_level")
    assert [found[name].source for name in names] == ["environment", "file", "option", "default", "default"]
    assert (found["broker"].text, found["watchdog"].text) == ("kafka://b:2", "60")


def test_a_secret_given_twice_is_refused(tmp_path: Path):
    """Nobody can tell which one was meant."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_TOKEN"):
        read_environment({"DEALPULSE_SLACK_TOKEN": "a", "DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize("url", ["http://host:9092", "host", "kafka://host", "kafka://", "host:0", "host:65537"])
def test_a_wrong_broker_address_is_refused(url):
    """Host and port are needed, and the scheme is ours."""
    with pytest.raises(ConfigError, match="DEALPULSE_BROKER"):
        bootstrap(Environment(broker=url))


TLS = {"DEALPULSE_SECURITY_PROTOCOL": "SSL"}
SASL = {
    "DEALPULSE_SECURITY_PROTOCOL": "sasl_ssl",
    "DEALPULSE_SASL_MECHANISM": "scram-sha-512",
    "DEALPULSE_SASL_USERNAME": "us",
    "DEALPULSE_SASL_PASSWORD": "secret",
}


@pytest.mark.parametrize("missing", ["MECHANISM", "USERNAME", "PASSWORD"])
def test_sasl_needs_all_of_it(missing):
    """Else the client says so, in librdkafka's words and too late."""
    left = {name: value for name, value in SASL.items() if not name.endswith(missing)}
    with pytest.raises(
        ConfigError, match=f"^DEALPULSE_SASL_{missing} is missing, and DEALPULSE_SECURITY_PROTOCOL is SASL_SSL"
    ):
        read_environment(left)


@pytest.mark.parametrize(
    ("said", "ignored"),
    [
        ({name: value for name, value in SASL.items() if not name.endswith("PROTOCOL")}, "SASL_MECHANISM"),
        ({**SASL, "DEALPULSE_SECURITY_PROTOCOL": "SSL"}, "SASL_MECHANISM"),
        ({"DEALPULSE_SSL_CA_LOCATION": "/etc"}, "SSL_CA_LOCATION"),
        ({**SASL, "DEALPULSE_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "DEALPULSE_SSL_CA_LOCATION": "/etc"}, "SSL_CA_LOCATION"),
    ],
)
def test_what_the_protocol_makes_no_use_of_is_refused(said, ignored):
    """Who names a password or an authority does not mean to connect without."""
    with pytest.raises(
        ConfigError, match=f"DEALPULSE_{ignored} is set, and DEALPULSE_SECURITY_PROTOCOL, which is .*no use of it"
    ):
        read_environment(said)


@pytest.mark.parametrize("name", ["SSL_CA_LOCATION", "SSL_CERTIFICATE_LOCATION", "SSL_KEY_LOCATION"])
def test_a_certificate_that_is_not_there_is_refused(name):
    """By the variable, with the path."""
    with pytest.raises(ConfigError, match=f"^DEALPULSE_{name}: cannot read /nowhere/ca.pem: No such file"):
        read_environment({**TLS, f"DEALPULSE_{name}": "/nowhere/ca.pem"})


def test_certificates_may_be_a_folder(tmp_path: Path):
    """Of authorities; a key is a file."""
    assert read_environment({**TLS, "DEALPULSE_SSL_CA_LOCATION": str(tmp_path)}).ssl_ca_location == str(tmp_path)
    with pytest.raises(ConfigError, match="DEALPULSE_SSL_KEY_LOCATION: cannot read"):
        read_environment({**TLS, "DEALPULSE_SSL_KEY_LOCATION": str(tmp_path)})


def test_tls_and_sasl_reach_every_client():
    """Under the names that librdkafka knows."""
    found = client_settings(read_environment(SASL))
    assert (found["security.protocol"], found["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (found["sasl.username"], found["sasl.password"]) == ("us", "secret")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WEB_PORT", "web", "'web' is no port"),
        ("WEB_PORT", "65536", "'65536' is no port"),
        ("WEB_PORT", "²", "'²' is no port"),
        ("WATCHDOG", "29", "'29' is no limit; write seconds from 30 to 86400, or 0"),
        ("WATCHDOG", "1m", "'1m' is no limit"),
        ("READY_LAG", "-1", "'-1' is no number of records"),
        ("READY_LAG", "9" * 5000, "'999999999999...9999999999999' is no number of records"),
        ("LOG_LEVEL", "FOO", "'FOO' is not known; write one of DEBUG, INFO, WARNING"),
        ("SECURITY_PROTOCOL", "FOO", "'FOO' is not known; write one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("SASL_MECHANISM", "GSSAPI", "'GSSAPI' is not known; write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ("BROKER", "nonsense", "'nonsense' is no broker address"),
    ],
)
def test_a_wrong_value_is_refused(name, value, sentence):
    """With what may be written."""
    with pytest.raises(ConfigError) as refused:
        read_environment({f"DEALPULSE_{name}": value})
    assert f"DEALPULSE_{name}: {sentence}" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "hooks.slack.com/services/T0/B0/very-secret",
        "http://hooks.slack.com/services/T0/B0/very-secret",
        "https:///services/T0/B0/very-secret",
        "https://hooks.slack.com:very-secret/",
        "https://[very-secret/",
        "https://hooks.slack.com/ very-secret",
        "https://hooks.slack.com/very-secret\n",
    ],
)
def test_a_webhook_that_is_no_address_is_refused_without_being_shown(url):
    """It is the secret."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_WEBHOOK: this is no address of a webhook") as refused:
        read_environment({"DEALPULSE_SLACK_WEBHOOK": url})
    assert "very-secret" not in str(refused.value)


def test_a_token_that_is_none_is_refused_without_being_shown():
    """Two of them in one file, say."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_TOKEN: this is no token") as refused:
        read_environment({"DEALPULSE_SLACK_TOKEN": "xoxb-1\nxoxb-2"})
    assert "xoxb" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.slack.com/services/T0/B0/x", "http://127.0.0.1:8080/x", "http://localhost/x"]
)
def test_a_webhook_is_https_or_here(url):
    """A test may stand in for Slack on this machine."""
    assert read_environment({"DEALPULSE_SLACK_WEBHOOK": url}).slack_webhook == url


def test_numbers_are_read():
    """0 switches the watchdog off."""
    found = read_environment({"DEALPULSE_WATCHDOG": "0", "DEALPULSE_READY_LAG": "5", "DEALPULSE_WEB_PORT": "80"})
    assert (found.watchdog, found.ready_lag, found.web_port) == (0, 5, 80)
    assert (Environment().watchdog, Environment().ready_lag) == (60, 10_000)


def test_a_password_in_the_address_is_not_shown():
    """Nor kept where it is."""
    with pytest.raises(ConfigError, match="a user or password does not belong into the address") as refused:
        read_environment({"DEALPULSE_BROKER": "kafka://us:very-secret@h:9092"})
    assert "very-secret" not in str(refused.value)
    assert "very-secret" not in repr(variables({"DEALPULSE_BROKER": "kafka://us:very-secret@h:9092"}))


def test_an_app_id_that_no_topic_can_begin_with_is_refused():
    """The broker would refuse the changelogs, and name no setting."""
    with pytest.raises(ConfigError, match="DEALPULSE_APP_ID: 'a/b' cannot begin the name of a topic"):
        read_environment({"DEALPULSE_APP_ID": "a/b"})
