"""Hands a mail in at an SMTP server (RFC 5321, RFC 3207), with every accident turned into a decision."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Any

from anyio import to_thread

from syncd import __version__
from syncd.config import NotifyConfig
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import get_logger
from syncd.mail_settings import read_smtp_url
from syncd.remotes.http import said
from syncd.text import printable

TIMEOUT_S = 30.0

_log = get_logger("mail")


async def send_mail(settings: NotifyConfig, subject: str, body: str) -> None:
    """Returns once the server has taken the mail, for one of `to` at least. Raises Transient (try again),
    AuthRejected (user or password) and Refused (the server will not take it as it is)."""
    server = read_smtp_url(settings.smtp_url)
    name, context = await to_thread.run_sync(_prepare)
    import aiosmtplib

    where = f"cannot send mail: {printable(server.host)}:{server.port}"
    try:
        refused, _ = await aiosmtplib.send(
            _message(settings, subject, body),
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password if server.user else None,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=None if server.security == "none" else context,
            local_hostname=name,
            timeout=TIMEOUT_S,
        )
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _decision(error, where) from None  # its cause may hold the password
    for address, answer in refused.items():  # sent again, the others would have it twice
        _log.warning("refused", to=address, code=answer.code, reason=said(answer.message))


def _prepare() -> tuple[str, ssl.SSLContext]:
    """What would hold the event loop: the library, this machine's name, and trusted certificates."""
    import aiosmtplib  # noqa: F401

    return socket.getfqdn() or "localhost", ssl.create_default_context()


def _message(settings: NotifyConfig, subject: str, body: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.from_
    message["To"] = ", ".join(settings.to)
    message["Subject"] = printable(subject)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=parseaddr(settings.from_)[1].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in answer, please
    message["X-Mailer"] = f"syncd/{__version__}"
    message.set_content(body)
    return message


def _decision(error: Exception, where: str) -> SyncdError:
    import aiosmtplib

    match error:
        case aiosmtplib.SMTPAuthenticationError():
            return AuthRejected(
                f"{where} does not accept the user or the password", hint='check [notify] "smtp_url"'
            )
        case aiosmtplib.SMTPRecipientsRefused():
            first: Any = error.recipients[0]
            return _answered(first.code, f"{where} refuses {printable(first.recipient)}", first.message)
        case aiosmtplib.SMTPConnectError():
            return Transient(f"{where} cannot be reached ({said(error)})")
        case aiosmtplib.SMTPResponseException():
            return _answered(error.code, where, error.message)
        case ssl.SSLError():
            return Transient(f"{where} shows a certificate that is not trusted ({said(error)})")
        case aiosmtplib.SMTPTimeoutError() | TimeoutError():
            return Transient(f"{where} did not answer in time")
        case _ if type(error) is aiosmtplib.SMTPException or isinstance(error, aiosmtplib.SMTPNotSupported):
            hint = "use smtps:// where the server wants TLS from the start"
            return Refused(f"{where}: {said(error)}", hint=hint)
        case _:
            return Transient(f"{where} cannot be reached ({said(error)})")


def _answered(code: int, where: str, message: str) -> SyncdError:
    words = f"{where}: {code} {said(message)}"
    return Refused(words) if code >= 500 else Transient(words)
