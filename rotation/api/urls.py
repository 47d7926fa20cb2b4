"""Where API requests about rotations go; the other app mounts these under its version."""

from django.urls import path

from rotation.api import (
    acknowledge,
    campaigns,
    freezes,
    key_actions,
    notices,
    pauses,
    people,
    rotations,
    set_up,
    tasks,
)

urlpatterns = [
    path("keys/<int:key_id>/acknowledge", acknowledge.acknowledge),
    path("keys/<int:key_id>/rotate", key_actions.KeyRotate.as_view()),
    path("keys/<int:key_id>/versions/", key_actions.KeyVersions.as_view()),
    path("keys/<int:key_id>/policy", key_actions.KeyPolicy.as_view()),
    path("campaigns/", campaigns.CampaignList.as_view()),
    path("campaigns/<int:campaign_id>/", campaigns.CampaignDetail.as_view()),
    path("campaigns/<int:campaign_id>/items/<int:item_id>/accept", campaigns.ItemAccept.as_view()),
    path("campaigns/<int:campaign_id>/items/<int:item_id>/retry", campaigns.ItemRetry.as_view()),
    path("notices/", notices.NoticeList.as_view()),
    path("notices/preference", notices.NoticePreference.as_view()),
    path("hooks/", notices.HookList.as_view()),
    path("hooks/<int:hook_id>/", notices.HookDetail.as_view()),
    path("hooks/<int:hook_id>/test", notices.HookTest.as_view()),
    path("pauses/", pauses.PauseList.as_view()),
    path("pauses/<int:pause_id>/", pauses.PauseDetail.as_view()),
    path("freezes/", freezes.FreezeList.as_view()),
    path("freezes/<int:freeze_id>/", freezes.FreezeDetail.as_view()),
    path("rotations/", rotations.RotationList.as_view()),
    path("rotations/<int:rotation_id>/", rotations.RotationDetail.as_view()),
    path("rotations/<int:rotation_id>/cancel", rotations.RotationCancel.as_view()),
    path("rotations/<int:rotation_id>/retry", rotations.RotationRetry.as_view()),
    path("rotations/<int:rotation_id>/waive", rotations.RotationWaive.as_view()),
    path("tasks/", tasks.TaskList.as_view()),
    path("tasks/<int:task_id>/", tasks.TaskDetail.as_view()),
    path("tasks/<int:task_id>/complete", tasks.TaskComplete.as_view()),
    path("members/<int:member_id>/offboard", people.MemberOffboard.as_view()),
    path("accounts/", set_up.AccountList.as_view()),
    path("consumers/", set_up.ConsumerList.as_view()),
    path("consumers/<int:consumer_id>/", set_up.ConsumerDetail.as_view()),
]
