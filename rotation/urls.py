"""Where requests for pages about rotations go, and for those that show keys with them."""

from django.urls import URLPattern, URLResolver, path

from rotation.views import (
    accounts,
    applications,
    health,
    home,
    key,
    key_acts,
    keys,
    people,
    rotations,
    tasks,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("metrics", health.scrape, name="metrics"),
    path("health/line", health.line, name="health-line"),
    path("keys/", keys.listing, name="keys"),
    path("keys/<int:key_id>/", key.show, name="key"),
    path("keys/<int:key_id>/rotate", key_acts.rotate, name="key-rotate"),
    path("keys/<int:key_id>/standby", key_acts.standby, name="key-standby"),
    path("keys/<int:key_id>/check", key_acts.check, name="key-check"),
    path("keys/<int:key_id>/policy", key_acts.policy, name="key-policy"),
    path("keys/<int:key_id>/reveal", key_acts.reveal, name="key-reveal"),
    path("rotations/", rotations.listing, name="rotations"),
    path("rotations/<int:rotation_id>/", rotations.show, name="rotation"),
    path("rotations/<int:rotation_id>/live", rotations.live, name="rotation-live"),
    path("rotations/<int:rotation_id>/<slug:deed>", rotations.act, name="rotation-act"),
    path("tasks/<int:task_id>/", tasks.show, name="task"),
    path("tasks/<int:task_id>/live", tasks.live, name="task-live"),
    path("tasks/<int:task_id>/paste", tasks.paste, name="task-paste"),
    path("tasks/<int:task_id>/review", tasks.review, name="task-review"),
    path("applications/", applications.listing, name="applications"),
    path("applications/<int:application_id>/", applications.show, name="application"),
    path(
        "applications/<int:application_id>/consumers",
        applications.add_consumer,
        name="consumer-add",
    ),
    path(
        "applications/<int:application_id>/consumers/<int:consumer_id>/remove",
        applications.remove_consumer,
        name="consumer-remove",
    ),
    path(
        "applications/<int:application_id>/consumers/<int:consumer_id>/renew",
        applications.renew_token,
        name="consumer-renew",
    ),
    path("people/", people.listing, name="people"),
    path("people/<int:member_id>/", people.show, name="person"),
    path("people/<int:member_id>/roles", people.give, name="person-give"),
    path("people/<int:member_id>/roles/take", people.take, name="person-take"),
    path("people/<int:member_id>/sessions", people.end_sessions, name="person-sessions"),
    path("people/<int:member_id>/invite", people.invite_again, name="person-invite"),
    path("people/<int:member_id>/leave", people.off_board, name="person-leave"),
    path("accounts/", accounts.listing, name="accounts"),
]
