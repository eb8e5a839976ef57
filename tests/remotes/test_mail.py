"""Mail is handed in at a real SMTP server, encrypted but for this machine, and accidents are decisions."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from syncd.config import NotifyConfig
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.mail_settings import SmtpServer, read_smtp_url
from syncd.remotes import mail
from tests.fakes.smtp import PASSWORD, USER, certificate, smtp_server


def settings(url: str, to: tuple[str, ...] = ("a@example.org", "Bé <b@example.org>")) -> NotifyConfig:
    return NotifyConfig(url, "syncd <from@example.org>", to)


def test_addresses_of_servers() -> None:
    known = {
        "smtp://u%40x:p%2Fw@mail.example": SmtpServer("mail.example", 587, "u@x", "p/w", "starttls"),
        "smtp://mail.example:2525/": SmtpServer("mail.example", 2525, "", "", "starttls"),
        "smtps://mail.example": SmtpServer("mail.example", 465, "", "", "tls"),
        "smtp://127.0.0.1": SmtpServer("127.0.0.1", 25, "", "", "none"),
        "smtp://localhost:1025": SmtpServer("localhost", 1025, "", "", "none"),
    }
    assert {text: read_smtp_url(text) for text in known} == known


async def test_a_mail_arrives_whole_at_everybody() -> None:
    with smtp_server() as post:
        url = f"smtp://127.0.0.1:{post.port}"
        await mail.send_mail(settings(url), "Grüße\r\nBcc: x@example.org", "Ärger\n.\nend\n")
        (message,) = post.mails
        assert post.recipients == [["a@example.org", "b@example.org"]]
        assert message["Subject"] == "Grüße\\x0d\\x0aBcc: x@example.org" and message["Bcc"] is None
        assert (message["From"], message["Auto-Submitted"]) == ("syncd <from@example.org>", "auto-generated")
        assert message["Message-ID"].endswith("@example.org>") and message["Date"]
        assert message.get_content().replace("\r\n", "\n") == "Ärger\n.\nend\n"

        for answer, kind in (("450 later", Transient), ("550 no such one", Refused)):
            post.refuse = {"a@example.org": answer}
            await mail.send_mail(settings(url), "s", "b")  # one of two has it: not again
            assert post.recipients[-1] == ["b@example.org"]
            with pytest.raises(kind, match=f"refuses a@example.org: {answer}"):
                await mail.send_mail(settings(url, ("a@example.org",)), "s", "b")
        post.refuse = {"DATA": "451 out of space"}
        with pytest.raises(Transient, match="451 out of space"):
            await mail.send_mail(settings(url), "s", "b")


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_the_line_is_encrypted_and_the_certificate_looked_at(
    security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certificate(tmp_path)

    def read(url: str) -> SmtpServer:  # plain is for this machine, which is all that there is here
        return read_smtp_url(url)._replace(security=security)  # type: ignore[arg-type]

    monkeypatch.setattr(mail, "read_smtp_url", read)
    with smtp_server(tls=context, from_start=security == "tls") as post:
        where = f"127.0.0.1:{post.port}"
        right = settings(f"smtp://{quote(USER)}:{quote(PASSWORD, safe='')}@{where}")
        with pytest.raises(Transient, match="certificate"):
            await mail.send_mail(right, "s", "b")
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        await mail.send_mail(right, "s", "b")
        assert (post.users, post.subjects) == ([USER], ["s"])
        with pytest.raises(AuthRejected, match="user or the password") as caught:
            await mail.send_mail(settings(f"smtp://{quote(USER)}:wrong-secret@{where}"), "s", "b")
        assert "wrong-secret" not in str(caught.value)
    if security == "starttls":
        with smtp_server() as plain, pytest.raises(Refused, match="STARTTLS extension not supported"):
            await mail.send_mail(settings(f"smtp://127.0.0.1:{plain.port}"), "s", "b")
        assert plain.mails == []


async def test_a_server_that_is_not_there_is_tried_later() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(SyncdError, match="cannot be reached") as caught:
            await mail.send_mail(settings(f"smtp://127.0.0.1:{silent.getsockname()[1]}"), "s", "b")
    assert isinstance(caught.value, Transient)
