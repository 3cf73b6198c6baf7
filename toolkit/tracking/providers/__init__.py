"""One file for each provider that reports what became of mails, each with one table of its words."""

from collections.abc import Mapping

from toolkit.tracking.providers import (
    brevo,
    mailersend,
    mailgun,
    mailjet,
    mailtrap,
    mandrill,
    postal,
    postmark,
    resend,
    sendgrid,
    ses,
    sparkpost,
    unisender_go,
)
from toolkit.tracking.providers.report import Call, Provider, RefusedError, Report, UnreadableError

__all__ = ["PROVIDERS", "Call", "Provider", "RefusedError", "Report", "UnreadableError"]

PROVIDERS: Mapping[str, Provider] = {
    provider.NAME: provider
    for provider in (
        ses,
        sendgrid,
        mailgun,
        postmark,
        brevo,
        resend,
        mailjet,
        sparkpost,
        mandrill,
        mailersend,
        mailtrap,
        postal,
        unisender_go,
    )
}
"""Name in the web address `/w/NAME` to the provider."""
