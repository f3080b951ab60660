"""Signing in and out, the one-time set-up link, and the theme."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.forms import AuthenticationForm, SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme, urlsafe_base64_decode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from dashboard import throttle
from dashboard.pages import THEMES, back, page

THEME_AGE_S = 365 * 24 * 3600


@sensitive_post_parameters("password")
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in; too many wrong passwords make this address wait."""
    if request.user.is_authenticated:
        return redirect("overview")
    if request.method != "POST":
        return _door(request, AuthenticationForm(request))
    name, address = request.POST.get("username", ""), str(request.META.get("REMOTE_ADDR", ""))
    if not throttle.may_try(name, address):
        return _door(request, AuthenticationForm(request), status=429, wait_m=throttle.WINDOW_S // 60)
    form = AuthenticationForm(request, data=request.POST)
    if not form.is_valid():
        return _door(request, form, status=422)
    throttle.forget(name, address)
    login(request, form.get_user())
    return redirect(_after(request))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("sign-in")


@sensitive_post_parameters()
@never_cache
def welcome(request: HttpRequest, uidb64: str, token: str) -> HttpResponse:
    """Set a password by a link that works once, and sign in."""
    user = _invited(uidb64, token)
    if user is None:
        return page(request, "dashboard/link_expired.html", status=410)
    form: SetPasswordForm[User] = SetPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        login(request, user, settings.AUTHENTICATION_BACKENDS[0])
        return redirect("overview")
    status = 422 if form.errors else 200
    return page(request, "dashboard/welcome.html", status=status, form=form, invited=user)


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in a cookie, so that the server renders it."""
    response = back(request, "overview")
    if (wanted := request.POST.get("theme")) in THEMES:
        response.set_cookie("theme", wanted, max_age=THEME_AGE_S, samesite="Lax", httponly=True)
    return response


def _door(
    request: HttpRequest, form: AuthenticationForm, *, status: int = 200, **context: Any
) -> HttpResponse:
    after = request.POST.get("next") or request.GET.get("next", "")
    return page(request, "dashboard/sign_in.html", status=status, form=form, next=after, **context)


def _after(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if ours else resolve_url(settings.LOGIN_REDIRECT_URL)


def _invited(uidb64: str, token: str) -> User | None:
    try:
        key = urlsafe_base64_decode(uidb64).decode("ascii")
        user = get_user_model().objects.get(pk=int(key), is_active=True)
    except (ValueError, OverflowError, User.DoesNotExist):
        return None
    return user if default_token_generator.check_token(user, token) else None
